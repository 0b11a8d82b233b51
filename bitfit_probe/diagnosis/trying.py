"""Try every step, cheap looks first, and say which one helps, with all that were tried counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bitfit_probe.diagnosis.fitting import splits_of
from bitfit_probe.diagnosis.outcomes import Outcome
from bitfit_probe.diagnosis.step import Step
from bitfit_probe.errors import ModelError
from bitfit_probe.measures.intervals import Interval, mean_interval, share_interval

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Rows = npt.NDArray[np.int64]

__all__ = ["CHANCE", "Advice", "Tried", "advise", "chances", "chances_of", "paired", "try_steps"]

_SEED = 2
#: Examples of the first look, at least; and its confidence: a step that is given up is not looked at again.
_FIRST_LOOK, _SURE = 64, 0.99
#: Sign flips behind the chance of a gain: 0.05 is known to ± 0.005.
_FLIPS = 2000
#: More often than this, noise alone would give some step as clear a gain (a convention).
CHANCE = 0.05
#: Of steps within one standard error of the best one the simplest is taken (Breiman et al. 1984, §3.4.3).
_AS_GOOD = 1.0


@dataclass(frozen=True)
class Tried:
    """A step with what it gained on each example that it was judged on.

    Attributes
    ----------
    rows
        Those examples' numbers.
    gains, loss_gains
        Of the measure and of the loss, shape (len(rows),).
    """

    step: Step
    rows: Rows
    gains: Floats
    loss_gains: Floats
    seconds: float
    shares: bool

    @property
    def interval(self) -> Interval:
        """Of the mean gain, 95 %."""
        return paired(self.gains, shares=self.shares)


def paired(gains: Floats, *, shares: bool, confidence: float = 0.95) -> Interval:
    """Interval of a mean paired difference; of right and wrong answers where `shares`."""
    if not shares:
        return mean_interval(gains, confidence)
    return share_interval(int((gains < 0).sum()), int((gains > 0).sum()), len(gains), confidence)


def try_steps(
    steps: Sequence[Step],
    before: Outcome,
    *,
    shares: bool,
    early: bool = True,
    tell: Callable[[int, int], None] | None = None,
) -> list[Tried]:
    """Try each step; those that a first look shows to do harm or nothing are given up after it.

    Parameters
    ----------
    before
        The tuned model's outcome on all examples.
    shares
        Whether the measure counts right answers.
    early
        Take first looks: not where an example's score depends on the others.
    tell
        Told how many were tried, and how many there are.
    """
    count = len(before.scores)
    order = np.random.default_rng(_SEED).permutation(count)
    first = np.sort(order[: max(count // 4, min(_FIRST_LOOK, count))])
    rest = np.setdiff1d(np.arange(count), first) if early else first[:0]
    found: list[Tried] = []
    best = 0.0
    for number, step in enumerate(steps):
        if tell is not None:
            tell(number, len(steps))
        start = time.perf_counter()
        try:
            rows, outcome = _looked(step, before, (first, rest), best, shares)
        except ModelError:  # another tokenizer or checkpoint that does not fit after all
            continue
        gains = outcome.scores - before.scores[rows]
        losses = before.losses[rows] - outcome.losses
        found.append(Tried(step, rows, gains, losses, time.perf_counter() - start, shares))
        if len(rows) == count:
            best = max(best, paired(gains, shares=shares, confidence=_SURE)[0])
    return found


def _looked(
    step: Step, before: Outcome, parts: tuple[Rows, Rows], best: float, shares: bool
) -> tuple[Rows, Outcome]:
    """The rows that a step was judged on, and its outcome on them."""
    first, rest = parts
    everything = np.arange(len(before.scores))
    if step.fitted or not step.passes or not len(rest):
        return everything, step.look(None)
    begun = step.look(first)
    gains, losses = begun.scores - before.scores[first], before.losses[first] - begun.losses
    if _decided(gains, losses, best, shares):
        return first, begun
    ended = step.look(rest)
    scores, all_losses = np.empty(len(everything)), np.empty(len(everything))
    for rows, part in ((first, begun), (rest, ended)):
        scores[rows], all_losses[rows] = part.scores, part.losses
    return everything, Outcome(scores, all_losses)


def _decided(gains: Floats, losses: Floats, best: float, shares: bool) -> bool:
    """Whether a step surely gains less than the best one so far, or does nothing, or harm by its loss."""
    if not np.abs(losses).max() > 1e-6:
        return True
    if paired(gains, shares=shares, confidence=_SURE)[1] <= best:
        return True
    return bool(gains.mean() <= 0 and mean_interval(losses, _SURE)[1] < 0)


# Which one to take --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Advice:
    """The step to take, and what it gains on examples that did not choose it."""

    step: Tried
    gain: float
    interval: Interval


def chances(gains: Sequence[tuple[Rows, Floats]]) -> list[float]:
    """For each step how often noise alone would give some of the steps as clear a gain.

    Under noise a gain is as likely as a loss of the same size, example by example; signs are flipped together
    for all steps, which keeps what they have in common (Westfall & Young 1993, single-step max-T).

    Parameters
    ----------
    gains
        A step's examples by number, and what it gains on each.
    """
    if not gains:
        return []
    whole = max(len(rows) for rows, _ in gains)
    table = np.zeros((whole, len(gains)))
    for at, (rows, values) in enumerate(gains):
        table[rows, at] = values
    norms = np.sqrt((table**2).sum(0))
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.where(norms > 0, table / norms, 0.0)
    signs = np.random.default_rng(_SEED).choice((-1.0, 1.0), (_FLIPS, whole))
    highest = (signs @ scaled).max(axis=1)
    seen = scaled.sum(0)
    return [float((1 + (highest >= value - 1e-12).sum()) / (1 + _FLIPS)) for value in seen]


def chances_of(tried: Sequence[Tried]) -> list[float]:
    """The chance of each step's gain, by the measure, or by the loss where both speak for it.

    Losses tell more than right and wrong answers do, and less of what is wanted. So a step whose own gain in
    the measure is above 0 at 95 % (one-sided) is judged by the loss, too: by what it gains over the tuned
    model's own logits at the best scale, for any step can lower the loss of a model that is too sure.
    """
    by_measure = chances([(item.rows, item.gains) for item in tried])
    scaled = next((item.loss_gains for item in tried if item.step.name == "temperature"), None)
    if scaled is None:
        return by_measure
    by_loss = chances([(item.rows, item.loss_gains - scaled[item.rows]) for item in tried])
    return [
        min(chance, other) if paired(item.gains, shares=item.shares, confidence=0.9)[0] > 0 else chance
        for item, chance, other in zip(tried, by_measure, by_loss, strict=True)
    ]


def advise(tried: Sequence[Tried], known: Sequence[float]) -> Advice | None:
    """The step to take; None where no gain is more than noise.

    Parameters
    ----------
    tried
        Steps, those that change least first.
    known
        Their `chances_of`.
    """
    whole = max((len(item.rows) for item in tried), default=0)
    helping = [
        item for item, chance in zip(tried, known, strict=True) if chance < CHANCE and len(item.rows) == whole
    ]
    helping = [item for item in helping if not item.step.in_code] or helping
    if not helping:
        return None
    every = np.arange(len(helping[0].gains))
    honest = np.empty(len(every))
    # The choice is made again without each fifth of the examples, which then tell what it gains.
    for split in splits_of(np.zeros(len(every)), classes=False):
        honest[split.judge] = _best(helping, split.fit).gains[split.judge]
    chosen = _best(helping, every)
    return Advice(chosen, float(honest.mean()), paired(honest, shares=chosen.shares))


def _best(helping: Sequence[Tried], rows: Rows) -> Tried:
    """The highest gain on these rows; the first of those about as high."""
    top = max(helping, key=lambda item: item.gains[rows].mean())
    for item in helping:
        behind = top.gains[rows] - item.gains[rows]
        error = float(behind.std()) / np.sqrt(len(rows))
        if float(behind.mean()) <= _AS_GOOD * error + 1e-12:
            return item
    return top
