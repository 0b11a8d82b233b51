"""What `check` says about a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bitfit_probe.records.evidence import Evidence

__all__ = ["Check", "Finding", "NotChecked", "Severity"]

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Finding:
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


@dataclass(frozen=True)
class NotChecked:
    """A rule that could not be applied, why, and to which tuned checkpoint (its path)."""

    code: str
    why: str
    tuned: str = ""


@dataclass(frozen=True)
class Check:
    """All findings, what to fix first at the front, and what silence is worth."""

    findings: tuple[Finding, ...]
    checked: tuple[str, ...]
    not_checked: tuple[NotChecked, ...]
