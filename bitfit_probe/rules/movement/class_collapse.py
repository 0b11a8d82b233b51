"""BP308."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bitfit_probe.errors import ModelError
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules import running
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.rows import body, moved
from bitfit_probe.wording import format_number

__all__ = ["class_collapse"]

#: Norm scales start at 1 and stay positive in sound runs: no sign flipped in any run of
#: benchmarks/healthy.py nor in the rxnfp fine-tunes; after 100 steps at 0.1 about 40 % had.
FLIPPED = 0.05
#: A model that looks at its input has logits that differ by tenths and more; collapse gave 0.0.
SAME_LOGITS = 1e-3


@rule(
    "BP308",
    "class-collapse",
    "error",
    explains=("BP211", "BP107", "BP302", "BP303", "BP305", "BP309", "BP602"),
    catalogue=(48,),
)
def class_collapse(pair: Pair, this: Rule) -> Iterator[Finding]:
    """Training blew up: the model gives every input the same answer.

    What it means
    -------------
    The learning rate was so high that the weights were thrown far away; norm scales turned negative and the
    output no longer depends on the input.

    Why it matters
    --------------
    It predicts one class for everything, with the accuracy of that class's share.

    How it is recognised
    --------------------
    With `--data`: the logits of 64 examples differ by less than 0.001 and name one class. From the files
    alone: at least 5 % of the norm scales changed their sign. One predicted class alone proves nothing.

    What to do
    ----------
    Train again at a tenth of the rate with warm-up and clipped gradients, and watch the loss of the first
    hundred steps.

    References
    ----------
    huggingface/transformers#735, deeppavlov/AutoIntent#324
    """
    flipped = _flipped(pair)
    evidence = [Evidence("sign_flips", flipped, "share", about="norm scales")]
    spread = _spread(pair)
    if spread is not None:
        evidence.append(Evidence("logit_spread", spread, about="standard deviation over examples"))
    if spread is not None and spread < SAME_LOGITS:
        yield this.finding(
            f"Every input gets the same answer: the logits differ by {format_number(spread)} over the "
            "examples.",
            evidence=tuple(evidence),
        )
    elif flipped >= FLIPPED:
        yield this.finding(
            f"Training blew up: {flipped:.0%} of the norm scales changed their sign, as in models that "
            "answer "
            "the same to every input.",
            severity="error" if spread is None else "warning",
            evidence=tuple(evidence),
        )


def _flipped(pair: Pair) -> float:
    """Share of the norm scales that turned from positive to negative or back."""
    rows = moved(body(pair, "norm"))
    size = sum(row.parameters for row in body(pair, "norm"))
    return sum(row.sign_flips or 0 for row in rows) / size if size else 0.0


def _spread(pair: Pair) -> float | None:
    """Largest standard deviation of a class's logit over the examples; None where nothing can be run."""
    if pair.data is None or pair.comparison.summary.head in ("none", "dropped"):
        return None
    try:
        live = pair.live("tuned")
        if live.purpose != "classify" or live.missing:  # a head drawn at random says nothing
            return None
        values = live.logits(running.examples(pair))
    except ModelError:
        return None
    return float(np.max(np.std(values, axis=0)))
