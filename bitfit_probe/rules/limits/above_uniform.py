"""BP604."""

from __future__ import annotations

import math
from collections.abc import Iterator

from bitfit_probe.measures.intervals import mean_interval
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.scores import judged

__all__ = ["above_uniform"]


@rule("BP604", "loss-above-uniform", "error", needs=("tuned", "data"))
def above_uniform(pair: Pair, this: Rule) -> Iterator[Finding]:
    """On the examples the loss is above that of answering every class alike.

    What it means
    -------------
    The model is sure of wrong answers: a model that knows nothing, and says so, would have a lower loss.

    Why it matters
    --------------
    That is how mixed-up labels look, a tokenizer or head that is not the model's own, and training that blew
    up or went on for much too long. Its probabilities must not be used as they are.

    How it is recognised
    --------------------
    With `--data` of at least 50 labelled examples, 200 of them at most: the lower end of the mean loss's 95 %
    interval is above log(classes).

    What to do
    ----------
    Run `bitfit-probe diagnose` on the same files: it tries what could mend it, and measures each step. Where
    nothing but the scale of the logits helps, divide them by the temperature that it fits.

    References
    ----------
    Guo et al. 2017 (overconfidence and temperature scaling)
    """
    subject = judged(pair)
    losses, alike = subject.before.losses, math.log(subject.classes)
    low, high = mean_interval(losses, 0.95)
    if low <= alike:
        return
    yield this.finding(
        f"The loss on {len(losses)} examples is {losses.mean():.2f} nats, above the {alike:.2f} of answering "
        f"all {subject.classes} classes alike: it is sure of wrong answers.",
        evidence=(
            Evidence("loss", float(losses.mean()), "nats", (low, high), f"{len(losses)} examples"),
            Evidence("uniform_loss", alike, "nats", source="log of the number of classes"),
        ),
    )
