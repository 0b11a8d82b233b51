"""BP715."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.pair import Pair
from bitfit_probe.records import Finding
from bitfit_probe.rules.broken_promises import broken
from bitfit_probe.rules.engine.rule import Rule, rule

__all__ = ["stated_twice"]


@rule("BP715", "facts-disagree", "warning", needs=("tuned",))
def stated_twice(pair: Pair, this: Rule) -> Iterator[Finding]:
    """Two files of the folder state the same thing differently.

    What it means
    -------------
    The step, the number of labels or the base is written in two places, and they disagree.

    Why it matters
    --------------
    One of the files is of another save or another model, and loaders believe one of them.

    How it is recognised
    --------------------
    ``checkpoint-N`` against trainer_state.json; ``num_labels`` against ``id2label``; the base in
    adapter_config.json against the model card's, by the last part of its name; a path to a folder can't
    disagree. Special tokens are BP408's.

    What to do
    ----------
    Find out which was written last, and correct the other.

    References
    ----------
    huggingface/transformers#28589
    """
    yield from broken(pair, this, "facts")
