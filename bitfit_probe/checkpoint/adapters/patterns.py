"""peft's name patterns, without handing a stranger's regular expression to a backtracking machine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from bitfit_probe.checkpoint.parsing.expressions import MOST_STEPS, Expression, UnreadExpressionError

__all__ = ["NamePatterns", "named_by_end"]

#: What most patterns are: a name, of which the dots stand for any character as in every expression.
_LITERAL = re.compile(r"(?:[\w\-.]|\\\.)*")


class NamePatterns:
    r"""A mapping from patterns to values, such as peft's ``alpha_pattern``.

    A pattern is a regular expression that matches the end of a name from a dot on:
    ``re.match(rf"(.*\.)?({pattern})$", name)``, as peft's ``get_pattern_key`` has it. The first that matches
    counts.

    Parameters
    ----------
    patterns
        What the configuration says; other than a mapping it has no patterns.

    Attributes
    ----------
    steps
        What looking up took so far; no more than `MOST_STEPS` for all patterns together.

    Examples
    --------
    >>> patterns = NamePatterns({"query": 4, r"layer\.\d+\.value": 8})
    >>> [patterns.look_up(f"encoder.layer.0.{name}", 1) for name in ("query", "value", "key", "xquery")]
    [4, 8, 1, 1]
    """

    def __init__(self, patterns: object) -> None:
        given = patterns if isinstance(patterns, Mapping) else {}
        self._values: list[Any] = list(given.values())
        self._texts = [str(text) for text in given]
        self._literals: dict[tuple[int, ...], dict[str, int]] = {}
        self._others: list[int] = []
        for at, text in enumerate(self._texts):
            if _LITERAL.fullmatch(text):
                self._add_literal(text, at)
            else:
                self._others.append(at)
        self._expressions: dict[int, Expression] = {}
        self.steps = 0

    def look_up(self, name: str, default: Any) -> Any:
        """The value of the first pattern that matches `name`, or `default`.

        Raises
        ------
        UnreadExpressionError
            One of the patterns is not matched, or all together would take too long.
        """
        if "\n" in name:  # of which dots and ends mean something else
            at = next(self._matching(name, range(len(self._texts))), None)
        else:
            literal = min(self._literals_at(name), default=len(self._texts))
            before = (at for at in self._others if at < literal)
            at = next(self._matching(name, before), literal if literal < len(self._texts) else None)
        return default if at is None else self._values[at]

    def _add_literal(self, text: str, at: int) -> None:
        """Keep a literal by its length and where it has dots, so that a name is looked up and not tried."""
        dots: list[int] = []
        plain: list[str] = []
        for token in re.findall(r"\\\.|.", text):
            if token == ".":
                dots.append(len(plain))
            plain.append(token[-1])
        for dot in dots:
            plain[dot] = "."
        self._literals.setdefault((len(plain), *dots), {}).setdefault("".join(plain), at)

    def _literals_at(self, name: str) -> Iterator[int]:
        for (length, *dots), known in self._literals.items():
            start = len(name) - length
            self._count(len(dots) + 1)
            if start < 0 or (start > 0 and name[start - 1] != "."):
                continue
            end = name[start:]
            for dot in dots:
                end = f"{end[:dot]}.{end[dot + 1 :]}"
            if end in known:
                yield known[end]

    def _matching(self, name: str, which: Iterator[int] | range) -> Iterator[int]:
        for at in which:
            expression = self._expressions.get(at)
            if expression is None:
                expression = self._expressions[at] = Expression(rf"(.*\.)?({self._texts[at]})$")
                self._count(expression.size)
            before = expression.steps
            found = expression.begins(name)
            self._count(expression.steps - before)
            if found:
                yield at

    def _count(self, steps: int) -> None:
        self.steps += steps
        if self.steps > MOST_STEPS:
            raise UnreadExpressionError(f"{len(self._texts):,} patterns that take too long to match")


def named_by_end(values: Mapping[str, Any], name: str) -> Any:
    """The value of the longest key that `name` ends with, or None.

    The ends of the name are looked up instead of trying the keys, of which a file may hold any number.

    >>> named_by_end({"embed_tokens": [1], "lm_head": [2]}, "model.embed_tokens")
    [1]
    """
    ends = (name[start:] for start in range(len(name) + 1))
    return next((values[end] for end in ends if end in values), None)
