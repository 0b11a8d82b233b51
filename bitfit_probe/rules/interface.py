"""What a rule is: a small function that looks at a case and says what it finds."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitfit_probe.align import Alignment
from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.checkpoint.interface import read_json
from bitfit_probe.errors import BitfitProbeError
from bitfit_probe.records import Comparison, Explanation, Finding, Severity, TensorDelta

if TYPE_CHECKING:
    from bitfit_probe.data import TaskData

__all__ = ["NO_ADAPTER", "NO_DATA", "Attempt", "CannotTell", "Case", "Rule", "all_rules", "file_rule", "rule"]

#: Reasons that several rules give for not looking, in one wording so that they are listed together.
NO_DATA = "no --data given"
NO_ADAPTER = "there is no adapter"
_LONGEST = 300


@dataclass(frozen=True)
class Case:
    """One tuned checkpoint beside its base, with all that the files offer.

    Attributes
    ----------
    base, tuned
        Both checkpoints, open: names, config, what lies beside the weights.
    alignment, comparison
        Which tensor is which, and how far each moved.
    data
        Labelled examples, where they were given.
    others
        Tuned checkpoints that were given after this one (epochs of a run, ranks of a job).
    """

    base: Checkpoint
    tuned: Checkpoint
    alignment: Alignment
    comparison: Comparison
    data: TaskData | None = None
    others: tuple[Checkpoint, ...] = ()

    @cached_property
    def rows(self) -> dict[str, TensorDelta]:
        """Compared tensors by the tuned side's name; parts of fused ones are left out."""
        return {row.tuned_name: row for row in self.comparison.tensors if row.part is None}

    @cached_property
    def cache(self) -> dict[str, Any]:
        """What one rule worked out and others use too."""
        return {}


@dataclass(frozen=True)
class Attempt:
    """A tuned checkpoint as its files show it, whether or not it can be opened and compared.

    Attributes
    ----------
    base
        The base, open.
    path
        What the caller named as tuned.
    tuned
        The tuned checkpoint; None where it can't be opened.
    error
        Why it can't be opened, or can't be laid beside the base; None where `case` is there.
    case
        The comparison, where there is one.
    """

    base: Checkpoint
    path: Path
    tuned: Checkpoint | None = None
    error: BitfitProbeError | None = None
    case: Case | None = None

    @property
    def folder(self) -> Path:
        """The directory in which the tuned checkpoint's config and tokenizer lie, if they do."""
        return self.path if self.path.is_dir() else self.path.parent

    def read_json(self, name: str) -> dict[str, Any] | None:
        """A JSON object that lies beside the tuned weights."""
        return read_json(self.folder / name)


class CannotTell(Exception):  # noqa: N818 -- an answer, not a failure
    """Raised by a rule that lacks what it needs to look at; its text says what."""


Look = Callable[[Any], Iterator[Finding]]


@dataclass(frozen=True)
class Rule:
    """A rule with its documentation.

    Attributes
    ----------
    code, name, severity
        As its findings carry them.
    look
        The function; it yields findings, nothing where all is well, or raises CannotTell.
    explains
        Codes of symptoms: where this rule finds something, their findings are left out.
    catalogue
        Numbers of the kinds of failure that it recognises.
    files_only
        It looks at an `Attempt`, so it can speak where nothing could be compared.
    """

    code: str
    name: str
    severity: Severity
    look: Look = field(compare=False)
    explains: tuple[str, ...] = ()
    catalogue: tuple[int, ...] = ()
    files_only: bool = False

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
    explains: tuple[str, ...] = (),
    catalogue: tuple[int, ...] = (),
) -> Callable[[Callable[[Case, Rule], Iterator[Finding]]], Rule]:
    """Make a function of (case, rule) a rule; found by listing the folder.

    The function's docstring documents it, under the headings *What it means*, *Why it matters*,
    *How it is recognised*, *What to do*, *References*, each underlined. Its findings take their advice
    from *What to do*.
    """

    def decorate(function: Callable[[Case, Rule], Iterator[Finding]]) -> Rule:
        return _made(code, name, severity, function, explains, catalogue, files_only=False)

    return decorate


def file_rule(
    code: str,
    name: str,
    severity: Severity,
    *,
    explains: tuple[str, ...] = (),
    catalogue: tuple[int, ...] = (),
) -> Callable[[Callable[[Attempt, Rule], Iterator[Finding]]], Rule]:
    """Make a function of (attempt, rule) a rule on files and names, also where nothing compares."""

    def decorate(function: Callable[[Attempt, Rule], Iterator[Finding]]) -> Rule:
        return _made(code, name, severity, function, explains, catalogue, files_only=True)

    return decorate


def _made(
    code: str,
    name: str,
    severity: Severity,
    function: Callable[[Any, Rule], Iterator[Finding]],
    explains: tuple[str, ...],
    catalogue: tuple[int, ...],
    *,
    files_only: bool,
) -> Rule:
    def look(subject: Any) -> Iterator[Finding]:
        return function(subject, made)

    look.__doc__ = function.__doc__
    made = Rule(code, name, severity, look, explains, catalogue, files_only)
    return made


@cache
def all_rules() -> dict[str, Rule]:
    """Every rule by its code, in the order of the codes."""
    import bitfit_probe.rules as home

    found: dict[str, Rule] = {}
    for module in pkgutil.walk_packages(home.__path__, f"{home.__name__}."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, Rule):
                if value.code in found and found[value.code] is not value:
                    raise RuntimeError(f"two rules are called {value.code}")
                found[value.code] = value
    return dict(sorted(found.items()))
