"""BP709."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.pair import Pair
from bitfit_probe.records import Finding
from bitfit_probe.rules.broken_promises import broken
from bitfit_probe.rules.engine.rule import Rule, rule

__all__ = ["adapter"]


@rule("BP709", "adapter-not-of-config", "error", needs=("tuned",))
def adapter(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The adapter's file is not what its configuration promises.

    What it means
    -------------
    Ranks, magnitudes, biases or saved modules in the file differ from what adapter_config.json says, or the
    base has no place for them.

    Why it matters
    --------------
    peft stops with a size mismatch, or leaves out what it does not find and goes on: the model serves without
    a part of its adapter.

    How it is recognised
    --------------------
    Each module's rank against ``r`` and ``rank_pattern``, both factors of each module, DoRA's magnitudes,
    ``lora_bias`` and ``modules_to_save`` against the names in the file; biases against the base's.

    What to do
    ----------
    Take the configuration that it was trained with, or save the adapter again.

    References
    ----------
    huggingface/peft#3737, huggingface/peft#2725
    """
    yield from broken(pair, this, "adapter")
