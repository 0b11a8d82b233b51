"""BP712."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.pair import Pair
from bitfit_probe.records import Finding
from bitfit_probe.rules.broken_promises import broken
from bitfit_probe.rules.engine.rule import Rule, rule

__all__ = ["second_file"]


@rule("BP712", "second-file-differs", "warning", needs=("tuned",))
def second_file(pair: Pair, this: Rule) -> Iterator[Finding]:
    """Two weight files in one folder hold other tensors.

    What it means
    -------------
    A second file under a name that loaders know has other names or shapes than the one that is read.

    Why it matters
    --------------
    Which model is served hangs on the loader.

    How it is recognised
    --------------------
    Names and shapes of both.

    What to do
    ----------
    Find out which one was saved last, and delete the other.

    References
    ----------
    huggingface/diffusers#14769
    """
    yield from broken(pair, this, "files")
