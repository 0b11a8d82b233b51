"""Broken promises of one topic, as the findings of a rule."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.pair import Pair
from bitfit_probe.promises import promises_of_pair
from bitfit_probe.records import Finding
from bitfit_probe.records.promises import Topic
from bitfit_probe.rules.engine.rule import CannotTell, Rule

__all__ = ["broken"]


def broken(pair: Pair, this: Rule, topic: Topic) -> Iterator[Finding]:
    """A finding for each broken promise of that topic.

    Raises
    ------
    CannotTell
        No file promises anything of it.
    """
    about = [item for item in promises_of_pair(pair).items if item.topic == topic]
    if not about:
        raise CannotTell("the files promise nothing of it")
    for item in about:
        if item.state == "broken":
            yield this.finding(item.says, severity=item.severity, subjects=item.subjects)
