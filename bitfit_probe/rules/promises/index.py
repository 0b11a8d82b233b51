"""BP708."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.pair import Pair
from bitfit_probe.records import Finding
from bitfit_probe.rules.broken_promises import broken
from bitfit_probe.rules.engine.rule import Rule, rule

__all__ = ["index"]


@rule("BP708", "index-disagrees", "error", needs=("tuned",))
def index(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The index of shards is not that of the folder.

    What it means
    -------------
    The index names fewer shards than their names count, or shards lie beside it that it does not name.

    Why it matters
    --------------
    Loaders read what the index names and leave the rest out, without a word.

    How it is recognised
    --------------------
    The numbers in the shards' names (``-00001-of-00004``), and the folder's other files of that kind.

    What to do
    ----------
    Copy shards and index from one save.

    References
    ----------
    noonghunna/club-3090#1042
    """
    yield from broken(pair, this, "index")
