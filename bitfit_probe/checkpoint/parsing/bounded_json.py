"""JSON from strangers: no more of it than takes little memory, and no key twice where that hides something.

A few bytes of JSON become an object of fifty times their size, so the text is measured before it is parsed.
"""

from __future__ import annotations

import json
from typing import Any

__all__ = ["MAX_BYTES", "parse"]

#: Beyond this no header, index, config or trainer state is what it says.
MAX_BYTES = 32 << 20
#: Lists, objects and texts: a tensor of a safetensors header has 13 such marks, so 160,000 tensors.
_MAX_MARKS = 1 << 21


def parse(text: bytes, *, unique: bool = False) -> Any:
    """What `text` says.

    Parameters
    ----------
    text
        JSON.
    unique
        Refuse an object in which a key stands twice.

    Raises
    ------
    ValueError
        It is no JSON, nested too deep, or larger than what is read.
    """
    if len(text) > MAX_BYTES:
        raise ValueError(f"{len(text):,} bytes, more than the {MAX_BYTES:,} that are read")
    marks = sum(text.count(mark) for mark in (b"[", b"{", b'"'))
    if marks > _MAX_MARKS:
        raise ValueError(f"{marks:,} lists, objects and quotes, more than the {_MAX_MARKS:,} that are read")
    try:
        return json.loads(text, object_pairs_hook=_unique if unique else None)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("a key stands twice")
    return out
