"""The front matter of a model card, README.md: its keys with their words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["CARD", "read_card"]

CARD = "README.md"
#: Front matter is short; what is longer is text.
_MOST = 1 << 14


def read_card(path: Path) -> Mapping[str, tuple[str, ...]]:
    """Top-level keys and their values, of lists each entry; empty where there is no front matter.

    No YAML library is asked: words and lists of words are all that is wanted of it.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            begun, _, rest = file.read(_MOST).partition("---")
    except OSError:
        return {}
    found: dict[str, tuple[str, ...]] = {}
    key = ""
    for line in rest.partition("\n---")[0].split("\n") if not begun.strip() else ():
        if line.lstrip().startswith("- ") and key:
            found[key] += (_word(line.lstrip()[2:]),)
        elif line[:1].isalpha():
            key, _, value = line.partition(":")
            found[key] = (_word(value),) if value.strip() else ()
    return found


def _word(text: str) -> str:
    return text.strip().strip("\"'")
