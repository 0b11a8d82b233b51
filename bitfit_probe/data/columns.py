"""Which column of a table is the text, which the label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bitfit_probe.errors import DataError

__all__ = ["Columns", "choose_columns"]

_TEXT = (
    "text",
    "sentence",
    "sentence1",
    "question",
    "premise",
    "review",
    "query",
    "utterance",
    "smiles",
    "input",
)
_PAIR = ("text_pair", "sentence2", "hypothesis", "context", "passage", "answer")
_LABEL = ("label", "labels", "class", "target", "category", "y", "score", "intent", "sentiment")
#: Columns that number the rows.
_NUMBERING = ("id", "idx", "index", "guid")


@dataclass(frozen=True)
class Columns:
    """Which columns to read; None is guessed by name."""

    text: str | None = None
    pair: str | None = None
    label: str | None = None


def choose_columns(names: list[str], wanted: Columns, path: Path) -> Columns:
    """The wanted columns, those not given guessed among `names`.

    Raises
    ------
    DataError
        A wanted column is absent, or nothing looks like a text.
    """
    for name in (wanted.text, wanted.pair, wanted.label):
        if name is not None and name not in names:
            listed = ", ".join(names[:12])
            raise DataError(f"has no column {name!r}", advice=f"choose among {listed}", path=path)
    free = [
        name
        for name in names
        if name not in {wanted.text, wanted.pair, wanted.label} and name.lower() not in _NUMBERING
    ]
    two_left = len(free) == 2 and not (wanted.text or wanted.pair or wanted.label)
    label = wanted.label or _guess(free, _LABEL)
    free = [name for name in free if name != label]
    text = wanted.text or _guess(free, _TEXT) or (free[0] if len(free) == 1 or two_left else None)
    if text is None:
        listed = ", ".join(names[:12])
        raise DataError(
            "no text column was recognised", advice=f"name one of {listed} with --text", path=path
        )
    free = [name for name in free if name != text]
    pair = wanted.pair or _guess(free, _PAIR)
    if two_left and label is None and pair is None:
        label = free[0]
    return Columns(text, pair, label)


def _guess(names: list[str], known: Sequence[str]) -> str | None:
    lower = {name.lower(): name for name in names}
    return next((lower[name] for name in known if name in lower), None)
