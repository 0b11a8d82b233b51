"""Makes the shared builders importable (pytest's importlib mode puts nothing on the path)."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = str(Path(__file__).parents[1])
HERE = str(Path(__file__).parent)
for place in (TESTS, HERE):
    if place not in sys.path:
        sys.path.insert(0, place)
