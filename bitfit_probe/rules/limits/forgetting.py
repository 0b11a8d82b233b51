"""BP602."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules import running
from bitfit_probe.rules.engine.rule import CannotTell, Rule, rule

if TYPE_CHECKING:
    from bitfit_probe.data import TaskData
    from bitfit_probe.inference import LiveModel

__all__ = ["forgetting"]

#: A rise of the base's own loss by this many nats a token, and by this share. Any classifier's body forgets
#: that much: BitFit on the embedded sample went from 5.2 to 6.4 nats (lr 0.002) or 6.5 (0.005 to 0.02), so it
#: is a note there. A convention for generators, whose loss should not rise.
NATS, SHARE = 1.0, 0.25
#: What a body is made of.
_BODY = ("bias", "embedding", "norm", "weight")


@rule("BP602", "forgetting", "warning", needs=("comparison", "data"), catalogue=(49,))
def forgetting(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The tuned body is much worse at the base's own task.

    What it means
    -------------
    The body moved so far that the language-model head of the base no longer fits it: what pretraining put
    there was overwritten.

    Why it matters
    --------------
    The model does its task and little else; further tuning, other tasks and odd inputs suffer.

    How it is recognised
    --------------------
    With `--data`, on 64 of its texts: the loss of the base's language-model head on the tuned body, beside
    that on the base's own. It is a warning where the loss is now above that of guessing any token of the
    vocabulary alike, or where a generator's rose by a nat a token and by a quarter; the same rise of an
    encoder, which is usual in a classifier, is a note. The weights alone can't prove it.

    What to do
    ----------
    Prefer a method that moves less (BitFit, LoRA), a lower rate or fewer steps, or mix general text into
    the training.

    References
    ----------
    LLaVA-VL/LLaVA-NeXT#364, smallcloudai/refact#311
    """
    with running.told():
        live = pair.live("base")
        before, after = _losses(pair, live, running.examples(pair))
        guessing = math.log(live.tokenizer.vocab_size)
    rose = after - before >= NATS and after >= (1 + SHARE) * before
    lost = after > guessing and after > before + NATS * SHARE
    if not rose and not lost:
        return
    yield this.finding(
        f"It forgot: on these texts the base's own language-model loss rose from {before:.2f} to {after:.2f} "
        f"nats a token with the tuned body (guessing: {guessing:.2f}).",
        severity="warning" if lost or live.purpose == "causal-lm" else "info",
        evidence=(
            Evidence("language_model_loss", before, "nats", about="base"),
            Evidence("language_model_loss", after, "nats", about="tuned body, the base's head"),
            Evidence("loss_of_guessing", guessing, "nats", source="log of the vocabulary's size"),
        ),
    )


def _losses(pair: Pair, live: LiveModel, data: TaskData) -> tuple[float, float]:
    """Loss in nats a token of the base, and with the tuned body in its place."""
    from bitfit_probe.inference.weights import overlaid, windows

    if live.purpose not in ("masked-lm", "causal-lm"):
        raise CannotTell("the base has no language-model head")
    before = _loss(live, data)
    body = windows(running.with_tuned_body(pair), live.model, _BODY)
    with overlaid([window for window in body.values() if window.differs]):
        return before, _loss(live, data)


def _loss(live: LiveModel, data: TaskData) -> float:
    from bitfit_probe.inference.language_loss import language_losses

    losses, counts = language_losses(live, data)
    asked = counts > 0
    if not asked.any():
        raise CannotTell("the examples are too short to measure a loss on")
    return float(np.average(losses[asked], weights=counts[asked]))
