"""BP403."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from bitfit_probe.architectures import is_bias
from bitfit_probe.checkpoint import Tensor
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.tensors import heads, is_adapter

__all__ = ["head_untrained"]

#: transformers' default where config.json has no initializer_range.
_INITIALIZER_RANGE = 0.02
#: Standard errors of a standard deviation within which a weight counts as freshly drawn.
_ERRORS = 3.0
#: Largest relative distance that is still called fresh: small heads have large standard errors.
_WIDEST = 0.15
#: Heads beyond this many elements are language-model heads, which come with the base.
_MOST = 1 << 24


@rule("BP403", "head-untrained", "error", explains=("BP205",), catalogue=(18,))
def head_untrained(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The new head is still as it was drawn.

    What it means
    -------------
    The head is not the base's, its biases are exactly zero and its weights have the spread with which
    transformers draws new ones: it was left out of training, or a fresh one was saved.

    Why it matters
    --------------
    Predictions are random, whatever the body learned.

    How it is recognised
    --------------------
    In a head that the base lacks: every bias exactly 0, and the standard deviation of every weight within
    three standard errors (at most 15 %) of ``initializer_range``. One optimizer step moves a bias off zero.
    For a head without biases (``score`` of decoders) only the spread can be seen, and a short run at a low
    rate leaves that as it is: there it is a note.

    What to do
    ----------
    Check that the optimizer holds the head's parameters and that you saved the model that was trained.

    References
    ----------
    huggingface/transformers#13358, huggingface/transformers#9882
    """
    if is_adapter(pair.tuned):
        return
    paired = {match.tuned.name for match in pair.alignment.pairs}
    new = {name: t for name, t in heads(pair).items() if name not in paired and 0 < t.size <= _MOST}
    biases = {n: t for n, t in new.items() if is_bias(n)}
    weights = {n: t for n, t in new.items() if len(t.shape) == 2}
    if not weights or any(np.any(tensor.values()) for tensor in biases.values()):
        return
    expected = pair.tuned.config.get("initializer_range")
    expected = float(expected) if isinstance(expected, int | float) and expected > 0 else _INITIALIZER_RANGE
    spreads = {name: float(tensor.values().std()) for name, tensor in weights.items()}
    if not all(_fresh(spreads[name], expected, tensor) for name, tensor in weights.items()):
        return
    name, spread = next(iter(spreads.items()))
    zero = "all its biases are exactly 0 and " if biases else ""
    yield this.finding(
        f"The head was not trained: {zero}'{name}' has a standard deviation of {spread:.3g}, as newly drawn "
        f"weights have ({expected:g}).",
        severity="error" if biases else "info",
        subjects=tuple(new),
        evidence=(
            Evidence("standard_deviation", spread, about=name),
            Evidence("initializer_range", expected, source="config.json"),
            Evidence("zero_biases", len(biases), "tensors"),
        ),
        advice="Make the head trainable and train again, or save the model that was trained.",
    )


def _fresh(spread: float, expected: float, tensor: Tensor) -> bool:
    error = _ERRORS / math.sqrt(2 * tensor.size)
    return abs(spread / expected - 1) <= min(error, _WIDEST)
