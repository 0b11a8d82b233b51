"""peft's name patterns, without handing a stranger's regular expression to a backtracking machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["UnsafePatternError", "look_up", "matches"]

#: Literals, dots, digits, sets and alternatives; repetition only of single characters, and seldom.
_HARMLESS = re.compile(r"\^?(?:[\w\-.(|)]|\\\.|(?:\.|\\d|\[[\w\-]+\])[*+]?)*\$?")
_MOST_REPEATS = 4
_LONGEST = 300


class UnsafePatternError(ValueError):
    """A pattern that might take for ever to match."""


def matches(pattern: str, name: str) -> bool:
    """Whether `pattern` matches the end of `name` from a dot on, as peft's ``get_pattern_key`` does.

    >>> matches("query", "encoder.layer.0.query"), matches("ery", "encoder.layer.0.query")
    (True, False)
    """
    if pattern == name or name.endswith(f".{pattern}"):
        return True
    if not _HARMLESS.fullmatch(pattern) or len(pattern) > _LONGEST or len(name) > _LONGEST:
        raise UnsafePatternError(pattern)
    if len(re.findall(r"[*+]", pattern)) > _MOST_REPEATS:
        raise UnsafePatternError(pattern)
    try:
        return re.match(rf"(.*\.)?({pattern})$", name) is not None
    except re.error as error:
        raise UnsafePatternError(pattern) from error


def look_up(patterns: Any, name: str, default: Any) -> Any:
    """The value of the first pattern that matches `name`, or `default`."""
    if not isinstance(patterns, Mapping):
        return default
    return next((value for pattern, value in patterns.items() if matches(pattern, name)), default)
