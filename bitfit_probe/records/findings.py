"""What `check` says about a checkpoint."""

from __future__ import annotations

from bitfit_probe.frozen import Frozen
from bitfit_probe.records.coverage import Coverage
from bitfit_probe.records.diff import Retyped
from bitfit_probe.records.evidence import Evidence
from bitfit_probe.records.failures import Failure
from bitfit_probe.records.promises import Promises
from bitfit_probe.records.severity import Severity

__all__ = ["Check", "Explanation", "Finding", "NotChecked", "Scope"]


class Finding(Frozen):
    """One thing that is worth saying about a checkpoint.

    Attributes
    ----------
    code, name
        ``BPxxx``, which never changes its meaning, and the rule's short name in kebab case.
    severity
        ``error``: don't deploy this. ``warning``: quality is lost or likely lost. ``info``: good to know.
    message
        What, where and the number, in one plain sentence of at most 300 characters.
    subjects
        The tensors, files or settings that it is about.
    evidence
        The numbers behind it.
    advice
        What to do.
    details
        More, for whoever wants it; empty where the message says all.
    tuned
        Path of the tuned checkpoint that it is about.
    """

    code: str
    name: str
    severity: Severity
    message: str
    subjects: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    advice: str = ""
    details: str = ""
    tuned: str = ""


class NotChecked(Frozen):
    """A rule that could not be applied, why, and to which tuned checkpoint (its path)."""

    code: str
    why: str
    tuned: str = ""


class Scope(Frozen):
    """What was looked at of one tuned checkpoint.

    Attributes
    ----------
    tuned
        Its path.
    coverage
        How much of the base has a counterpart in it; None where the two could not be compared.
    unread
        Weight files, and folders of them, beside the ones that were read.
    retyped
        Element types that differ from the base's, most elements first.
    """

    tuned: str
    coverage: Coverage | None
    unread: tuple[str, ...] = ()
    retyped: tuple[Retyped, ...] = ()


class Check(Frozen):
    """All findings, what to fix first at the front, what silence is worth, and what the files promise.

    `failures` are checkpoints among several that could not be read or compared, where no finding says why.
    """

    findings: tuple[Finding, ...]
    checked: tuple[str, ...]
    not_checked: tuple[NotChecked, ...]
    scopes: tuple[Scope, ...] = ()
    promises: tuple[Promises, ...] = ()
    failures: tuple[Failure, ...] = ()


class Explanation(Frozen):
    """What a code stands for.

    Attributes
    ----------
    code, name, severity
        As its findings carry them; a finding may be milder or worse than the rule's usual severity.
    title
        One sentence.
    sections
        Heading and text: what it means, why it matters, how it is recognised, what to do, references.
    explains
        Codes of findings that this one takes the place of.
    """

    code: str
    name: str
    severity: Severity
    title: str
    sections: tuple[tuple[str, str], ...]
    explains: tuple[str, ...] = ()
