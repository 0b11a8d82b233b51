"""Run the rules on what a test wrote, with faults of a rule raised instead of listed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bitfit_probe.data import as_examples
from bitfit_probe.pair import open_pairs
from bitfit_probe.records import Check, Finding
from bitfit_probe.rules import check


def run_rules(base: Path, *tuned: Path, data: Any = None, **options: Any) -> Check:
    """`bitfit_probe.check`, but a rule that fails fails the test."""
    examples = None if data is None else as_examples(data)
    return check(open_pairs(base, tuned, data=examples), strict=True, **options)


def codes(base: Path, *tuned: Path, **options: Any) -> list[str]:
    """Codes of the findings in their order, information left out."""
    return [item.code for item in run_rules(base, *tuned, **options).findings if item.severity != "info"]


def only(base: Path, *tuned: Path, code: str, **options: Any) -> Finding:
    """The single finding of one rule."""
    (found,) = (item for item in run_rules(base, *tuned, **options).findings if item.code == code)
    return found
