"""BP711."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.pair import Pair
from bitfit_probe.records import Finding
from bitfit_probe.rules.broken_promises import broken
from bitfit_probe.rules.engine.rule import Rule, rule

__all__ = ["labels"]


@rule("BP711", "labels-renumbered", "warning", needs=("tuned",))
def labels(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The labels have other numbers than in the base.

    What it means
    -------------
    The base is a classifier of the same labels, and config.json numbers them in another way.

    Why it matters
    --------------
    Unless the head was trained with the new numbers, right answers are called by other names.

    How it is recognised
    --------------------
    ``id2label`` against the base's, where both have the same names.

    What to do
    ----------
    Hold the numbers against those in the training data.

    References
    ----------
    huggingface/transformers#28589
    """
    yield from broken(pair, this, "labels")
