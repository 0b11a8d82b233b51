"""BP603."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.scores import judged

__all__ = ["guessing"]


@rule("BP603", "no-better-than-guessing", "error", needs=("tuned", "data"))
def guessing(pair: Pair, this: Rule) -> Iterator[Finding]:
    """On the examples the model is no better than always giving the most frequent class.

    What it means
    -------------
    Whatever the weights look like, on your labelled examples the answers are worth no more than a guess.

    Why it matters
    --------------
    Nobody should deploy it. The cause may be small (labels in another order, a lost head, another tokenizer),
    and the step that mends it cheap.

    How it is recognised
    --------------------
    With `--data` of at least 50 labelled examples, 200 of them at most: the accuracy is no higher than the
    share of the most frequent class, and the loss is above that of answering with the classes' frequencies. A
    model of which a part was drawn at random for want of a tensor is judged as it would be loaded.

    What to do
    ----------
    Run `bitfit-probe diagnose` on the same files: it tries what could mend it, and measures each step.

    References
    ----------
    The loss of the classes' frequencies is their entropy (Cover & Thomas 2006, §2.1).
    """
    subject = judged(pair)
    shares = np.bincount(subject.targets.astype(np.int64)) / len(subject.targets)
    majority, entropy = float(shares.max()), -sum(float(s) * math.log(s) for s in shares if s)
    accuracy, loss = float(subject.before.scores.mean()), float(subject.before.losses.mean())
    if accuracy > majority or loss <= entropy:
        return
    yield this.finding(
        f"No better than guessing: {accuracy:.1%} of {len(subject.targets)} examples are right; always "
        f"answering the most frequent class gives {majority:.1%}.",
        evidence=(
            Evidence("accuracy", accuracy, "share", about=f"{len(subject.targets)} examples"),
            Evidence("majority", majority, "share", about="most frequent class"),
            Evidence("loss", loss, "nats"),
            Evidence("entropy", entropy, "nats", about="the classes' frequencies"),
        ),
    )
