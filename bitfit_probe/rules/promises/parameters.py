"""BP702."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.pair import Pair
from bitfit_probe.records import Finding
from bitfit_probe.rules.broken_promises import broken
from bitfit_probe.rules.engine.rule import Rule, rule

__all__ = ["parameters"]


@rule("BP702", "parameters-missing", "error", needs=("tuned",), explains=("BP713",))
def parameters(pair: Pair, this: Rule) -> Iterator[Finding]:
    """A layer lacks parameters that its siblings or the base's have.

    What it means
    -------------
    The layers are there, but not whole: a matrix, a bias or a norm of some of them is absent, or a table or
    norm outside the layers.

    Why it matters
    --------------
    Loaders draw what is absent at random and go on.

    How it is recognised
    --------------------
    Each layer against the base's layer of that number; without a base against what more than half of its
    siblings have. Stacks that are absent as a whole are another class's choice.

    What to do
    ----------
    Save again with the full state gathered, and look at which names loading calls missing.

    References
    ----------
    huggingface/transformers#31034
    """
    yield from broken(pair, this, "parameters")
