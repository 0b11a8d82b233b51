"""Makes the shared builders importable (pytest's importlib mode puts nothing on the path)."""

from __future__ import annotations

import sys
from pathlib import Path

for folder in (Path(__file__).parent, Path(__file__).parents[1], Path(__file__).parents[1] / "tuning"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from tiny import bases, task  # noqa: E402, F401
