"""The findings: what goes wrong with fine-tunes, one small rule a file, in families by code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bitfit_probe.pair import Pair
from bitfit_probe.records import Check
from bitfit_probe.rules.catalogue import all_rules
from bitfit_probe.rules.engine.rule import CannotTell, Rule, rule
from bitfit_probe.rules.engine.runner import run

__all__ = ["CannotTell", "Rule", "all_rules", "check", "rule"]


def check(
    pairs: Sequence[Pair], *, select: Iterable[str] = (), ignore: Iterable[str] = (), strict: bool = False
) -> Check:
    """Run every rule there is; see `bitfit_probe.rules.engine.runner.run`."""
    return run(all_rules(), pairs, select=select, ignore=ignore, strict=strict)
