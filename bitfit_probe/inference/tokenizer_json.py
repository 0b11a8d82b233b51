"""What a tokenizer.json may ask for: the library behind it runs its patterns without a limit of time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

__all__ = ["check_tokenizer_json"]

#: Twice what the largest vocabularies take.
_MOST_MARKS = 1 << 23
_LONGEST_PATTERN, _MOST_GROWTH = 4096, 4096
_ENDLESS = re.compile(r"[*+]|\{\d*,\}")


def check_tokenizer_json(content: bytes) -> None:
    """Refuse a tokenizer.json that is too large, or could take forever on a text.

    Raises
    ------
    ValueError
        With what it is.
    """
    marks = sum(content.count(mark) for mark in (b"[", b"{", b'"'))
    if marks > _MOST_MARKS:
        raise ValueError(f"tokenizer.json holds {marks:,} lists, objects and quotes, more than are read")
    whole = json.loads(content)
    if not isinstance(whole, dict):
        raise ValueError("tokenizer.json holds no object")
    steps = [whole.get(name) for name in ("normalizer", "pre_tokenizer", "post_processor", "decoder")]
    growth = 1.0
    for step in _steps(steps):
        pattern = step.get("Regex")
        if isinstance(pattern, str) and _may_hang(pattern):
            raise ValueError(
                f"tokenizer.json cuts texts by a pattern that may take forever: {pattern[:80]!r}"
            )
        growth *= _growth(step)
    if growth > _MOST_GROWTH:
        raise ValueError("tokenizer.json replaces so often that texts grow without bound")


def _growth(step: dict[str, Any]) -> float:
    """How much longer a text gets at most by a replacement."""
    put, pattern = step.get("content"), step.get("pattern")
    if step.get("type") != "Replace" or not isinstance(put, str):
        return 1.0
    found = pattern.get("String") if isinstance(pattern, dict) else None
    return max(1.0, len(put) / max(1, len(found) if isinstance(found, str) else 1))


def _steps(value: Any) -> Iterator[dict[str, Any]]:
    """All objects inside."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    for entry in value if isinstance(value, list) else ():
        yield from _steps(entry)


def _may_hang(pattern: str) -> bool:
    r"""Whether a group that is repeated without end has a repetition or a choice inside, or refers back.

    >>> _may_hang("(a+)+$"), _may_hang("(?:a|aa)*b"), _may_hang(r" ?[^\s\p{L}]+[\r\n]*|\s+(?!\S)")
    (True, True, False)
    """
    plain = re.sub(r"\\[pP]\{[^}]*\}|\\[^1-9]", "x", pattern)
    plain = re.sub(r"\[\^?\]?(?:[^\[\]]|\[[^\]]*\])*\]", "x", plain)
    if len(pattern) > _LONGEST_PATTERN or re.search(r"\\[1-9]", plain):
        return True
    starts: list[int] = []
    for place, letter in enumerate(plain):
        if letter == "(":
            starts.append(place)
        elif letter == ")" and starts:
            inner, behind = plain[starts.pop() + 1 : place], plain[place + 1 :]
            if _ENDLESS.match(behind) and ("|" in inner or _ENDLESS.search(inner)):
                return True
    return False
