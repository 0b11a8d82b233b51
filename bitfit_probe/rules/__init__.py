"""The findings: what goes wrong with fine-tunes, one small rule a file, in families by code."""

from __future__ import annotations

from bitfit_probe.rules.interface import Attempt, CannotTell, Case, Rule, all_rules, file_rule, rule
from bitfit_probe.rules.judging import check, matching

__all__ = [
    "Attempt",
    "CannotTell",
    "Case",
    "Rule",
    "all_rules",
    "check",
    "file_rule",
    "matching",
    "rule",
]
