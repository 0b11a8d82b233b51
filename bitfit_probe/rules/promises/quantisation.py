"""BP707."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.pair import Pair
from bitfit_probe.records import Finding
from bitfit_probe.rules.broken_promises import broken
from bitfit_probe.rules.engine.rule import Rule, rule

__all__ = ["quantisation"]


@rule("BP707", "quantisation-left-over", "error", needs=("tuned",))
def quantisation(pair: Pair, this: Rule) -> Iterator[Finding]:
    """config.json says that the weights are quantised, and none is.

    What it means
    -------------
    ``quantization_config`` stayed in config.json when the weights were dequantised or merged.

    Why it matters
    --------------
    Loaders quantise the weights again, or look for codes that are not there and stop.

    How it is recognised
    --------------------
    A method in ``quantization_config``, and only plain floats among the matrices.

    What to do
    ----------
    Delete quantization_config from config.json.

    References
    ----------
    huggingface/peft#2321
    """
    yield from broken(pair, this, "quantisation")
