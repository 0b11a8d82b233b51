"""BP710."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.pair import Pair
from bitfit_probe.records import Finding
from bitfit_probe.rules.broken_promises import broken
from bitfit_probe.rules.engine.rule import Rule, rule

__all__ = ["tokenizer"]


@rule("BP710", "tokenizer-changed", "error", needs=("tuned",))
def tokenizer(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The tokenizer makes other tokens of a text than the base's.

    What it means
    -------------
    Ids, casing, special tokens or the way to cut texts differ from the tokenizer that lies beside the base.

    Why it matters
    --------------
    The table of words was trained with the base's ids: with others each word is read as another one, and
    nothing stops.

    How it is recognised
    --------------------
    Ids of the tokens that both have, lower-casing, special tokens, normalizer, pre-tokenizer and the flags
    beside them, and the tokens that the post-processor puts around a text. Tokens that were added are no
    difference; pad, begin and end tokens, chat templates and truncation are notes.

    What to do
    ----------
    Take the base's tokenizer files, unless training went through these.

    References
    ----------
    dmis-lab/biobert#163, huggingface/transformers#12842
    """
    yield from broken(pair, this, "tokenizer")
