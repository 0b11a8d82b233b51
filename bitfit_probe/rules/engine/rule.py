"""What a rule is: a small function that looks at a pair and says what it finds."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from bitfit_probe.pair import Pair
from bitfit_probe.records import Explanation, Finding, Severity
from bitfit_probe.rules.engine.needs import Need

__all__ = ["CannotTell", "Rule", "rule"]

_LONGEST = 300


class CannotTell(Exception):  # noqa: N818 -- an answer, not a failure
    """Raised by a rule that finds, while it looks, that it can't tell; its text says why."""


@dataclass(frozen=True)
class Rule:
    """A rule with its documentation.

    Attributes
    ----------
    code, name, severity
        As its findings carry them.
    look
        The function; it yields findings, nothing where all is well, or raises CannotTell.
    needs
        What must be there for it to look; with none it may speak where nothing can be opened.
    explains
        Codes of symptoms: where this rule finds something, their findings are left out.
    catalogue
        Numbers of the kinds of failure that it recognises.
    """

    code: str
    name: str
    severity: Severity
    look: Callable[[Pair], Iterator[Finding]] = field(compare=False)
    needs: tuple[Need, ...] = ("comparison",)
    explains: tuple[str, ...] = ()
    catalogue: tuple[int, ...] = ()

    @cached_property
    def explanation(self) -> Explanation:
        """What `explain` prints: the docstring of `look`, by its headings."""
        text = inspect.cleandoc(self.look.__doc__ or "")
        title, *parts = re.split(r"^(\w[^\n]*)\n-{3,}\n", text, flags=re.MULTILINE)
        sections = tuple(
            (heading, body.strip()) for heading, body in zip(parts[::2], parts[1::2], strict=True)
        )
        return Explanation(self.code, self.name, self.severity, title.strip(), sections, self.explains)

    def finding(self, message: str, *, severity: Severity | None = None, **more: Any) -> Finding:
        """A finding of this rule; its advice is that of the docstring unless another one is given."""
        more.setdefault("advice", " ".join(dict(self.explanation.sections).get("What to do", "").split()))
        # Names in it may be of any length; they stand whole in the subjects.
        text = message if len(message) <= _LONGEST else message[: _LONGEST - 1] + "…"
        return Finding(self.code, self.name, severity or self.severity, text, **more)


def rule(
    code: str,
    name: str,
    severity: Severity,
    *,
    needs: tuple[Need, ...] = ("comparison",),
    explains: tuple[str, ...] = (),
    catalogue: tuple[int, ...] = (),
) -> Callable[[Callable[[Pair, Rule], Iterator[Finding]]], Rule]:
    """Make a function of (pair, rule) a rule; found by listing the folder.

    The function's docstring documents it, under the headings *What it means*, *Why it matters*,
    *How it is recognised*, *What to do*, *References*, each underlined. Its findings take their advice
    from *What to do*.
    """

    def decorate(function: Callable[[Pair, Rule], Iterator[Finding]]) -> Rule:
        def look(pair: Pair) -> Iterator[Finding]:
            return function(pair, made)

        look.__doc__ = function.__doc__
        made = Rule(code, name, severity, look, needs, explains, catalogue)
        return made

    return decorate
