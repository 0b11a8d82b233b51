"""BP706."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.pair import Pair
from bitfit_probe.records import Finding
from bitfit_probe.rules.broken_promises import broken
from bitfit_probe.rules.engine.rule import Rule, rule

__all__ = ["element_type"]


@rule("BP706", "type-not-of-config", "warning", needs=("tuned",))
def element_type(pair: Pair, this: Rule) -> Iterator[Finding]:
    """config.json names a coarser element type than the weights are stored in.

    What it means
    -------------
    ``dtype`` in config.json says float16 or bfloat16, and the file holds finer numbers.

    Why it matters
    --------------
    transformers 5 loads in the type that config.json names, so that another, rounded model is served than the
    one that was evaluated; beyond 65,504 float16 overflows.

    How it is recognised
    --------------------
    The type of most elements against ``dtype`` (``torch_dtype``); a warning where the base's config.json does
    not say the same, else a note.

    What to do
    ----------
    Write the stored type into config.json, or give dtype on loading.

    References
    ----------
    huggingface/transformers#34743
    """
    yield from broken(pair, this, "type")
