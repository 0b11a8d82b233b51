"""The families' TOML files as the one JSON file that is read; its test is in test_families.py.

PYTHONPATH=tests python -m architectures.tables --write
"""

from __future__ import annotations

import json
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HOME = Path(str(files("bitfit_probe.architectures")))
COMPILED = HOME / "families.json"


def tables(home: Path = HOME) -> dict[str, dict[str, Any]]:
    """What the TOML files hold, that of no family first."""
    paths = [home / "generic.toml", *sorted((home / "families").glob("*.toml"))]
    return {path.stem: tomllib.loads(path.read_text("utf-8")) for path in paths}


def compiled(home: Path = HOME) -> str:
    """All of it; a line a family, so that changes of two don't meet."""
    lines = (f"{json.dumps(name)}: {json.dumps(table)}" for name, table in tables(home).items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    if "--write" in sys.argv:
        COMPILED.write_text(compiled(), "utf-8")
