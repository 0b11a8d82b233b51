"""BP703."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.pair import Pair
from bitfit_probe.records import Finding
from bitfit_probe.rules.broken_promises import broken
from bitfit_probe.rules.engine.rule import Rule, rule

__all__ = ["ends"]


@rule("BP703", "head-or-table-missing", "error", needs=("tuned",), explains=("BP713",))
def ends(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The head, the table of words or the output table that the class has is not in the file.

    What it means
    -------------
    config.json names a class, which has a head of a certain name and tables that are tied or not; the file
    has none of that name, or two tables where the class takes one.

    Why it matters
    --------------
    Loaders draw a head that they don't find by name at random and drop the one that is there: the model
    guesses, differently on each load. Where config.json ties two tables that
    differ, transformers 5 keeps both and warns; version 4 and vLLM take the input table twice.

    How it is recognised
    --------------------
    The head's name by the family's table and the class, and the pooler of classes that read it; the output
    table by ``tie_word_embeddings`` and the base's own one; the table of words by the base's file.

    What to do
    ----------
    Rename the tensors to what the class calls them, or save with save_pretrained.

    References
    ----------
    huggingface/transformers#26160
    """
    yield from broken(pair, this, "ends")
