"""The sentences of a recommendation: what speaks for the answer, against it, and what would change it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bitfit_probe.recommendation.calibration import Calibration
from bitfit_probe.recommendation.outlook import ENOUGH_TO_COMPARE, Outlook
from bitfit_probe.records.distance import Distance, Reach
from bitfit_probe.records.recommendation import METHODS, Trial

__all__ = ["Grounds", "against", "because", "would_change"]

#: From this chance on "within a point" is said without a reservation.
_CLEAR = 0.8
#: The chance that goes with "at most".
_AT_MOST = 0.9
#: From here on the model does not see what is written. A convention: English texts have almost none.
_MUCH_UNKNOWN = 0.1
#: A forecast less than this above the most frequent class says that nothing may be learned. A convention.
_FAINT = 0.02


@dataclass(frozen=True)
class Grounds:
    """What an answer rests on.

    Attributes
    ----------
    outlooks
        What is expected of each method.
    trained
        Parameters that have to be stored, by method.
    price
        Points that a tenfold saving of them is worth.
    distance, trial, by, outside
        What was measured, tried, and known from other tasks; and in which ways this one is unlike those.
    """

    outlooks: Sequence[Outlook]
    trained: Mapping[str, int]
    price: float
    distance: Distance
    trial: Trial | None
    by: Calibration
    outside: Sequence[str]

    @property
    def nothing_learned(self) -> bool:
        """Whether all that was tried is as good as guessing."""
        results = self.trial.results if self.trial is not None else ()
        return bool(results) and not any(item.learned for item in results)

    @property
    def bitfit(self) -> Outlook | None:
        """What is expected of BitFit, where it and LoRA can be compared."""
        known = {item.method: item for item in self.outlooks}
        return known.get("bitfit") if "lora" in known else None

    @property
    def compared(self) -> bool:
        """Whether short runs on the user's data compare BitFit with LoRA."""
        return self.bitfit is not None and self.bitfit.basis == "trial"

    def share(self, method: str) -> str:
        """Parameters stored beside LoRA's: ``0.08×``."""
        return f"{self.trained[method] / self.trained['lora']:.2g}×"


def because(answer: str, grounds: Grounds) -> Iterator[str]:
    """What speaks for the answer."""
    trial = grounds.trial
    if grounds.nothing_learned:
        yield "No method beats guessing: don't choose a method, get more data or another base."
    elif trial is not None and trial.results and trial.held_out < ENOUGH_TO_COMPARE:
        yield f"{trial.held_out} held-out examples compare nothing: they choose the learning rate alone."
        yield from _from_other_tasks(grounds)
    elif grounds.compared:
        yield from _from_trial(grounds)
    else:
        yield "Nothing tells these methods apart without training them."
        yield from _from_other_tasks(grounds)
    if not grounds.nothing_learned:
        yield from _by_price(answer, grounds)
    if trial is not None and trial.results:
        yield _tried(trial)
    yield from _reach(grounds.distance)
    yield from _probe(grounds.distance)


def _from_other_tasks(grounds: Grounds) -> Iterator[str]:
    if grounds.bitfit is None:
        return
    if grounds.outside:
        gap = -grounds.bitfit.over_lora.mean
        yield f"In published comparisons BitFit scored {gap:.1f} points below LoRA on average."
        return
    one, two = grounds.by.within
    full = grounds.by.prior["full"].mean - grounds.by.prior["lora"].mean
    yield (
        f"On {grounds.by.tasks} other tasks BitFit lost no more than a point against LoRA in {one:.0%} of "
        f"the cases and no more than two in {two:.0%}; full fine-tuning gained {full:.1f} on average. So the "
        "price of parameters decides."
    )


def _from_trial(grounds: Grounds) -> Iterator[str]:
    bitfit, trial = grounds.bitfit, grounds.trial
    assert bitfit is not None
    assert trial is not None
    chance = bitfit.within(1.0)
    if chance >= _CLEAR:
        right = grounds.by.right.get(grounds.by.nearest(trial.held_out))
        record = f" (such statements were right in {right:.0%} on other tasks)" if right is not None else ""
        yield f"BitFit is within a point of LoRA with {chance:.0%}{record}."
    elif bitfit.within(0.0) <= 1 - _CLEAR and chance <= 1 - _CLEAR:
        yield f"LoRA is more than a point above BitFit with {1 - chance:.0%}."
    else:
        yield (
            f"BitFit and LoRA differ by less than {trial.held_out} examples can tell: BitFit is expected "
            f"{bitfit.over_lora.mean:+.1f} points from LoRA, and costs with {_AT_MOST:.0%} at most "
            f"{max(0.0, bitfit.at_most(_AT_MOST)):.1f}."
        )


def _by_price(answer: str, grounds: Grounds) -> Iterator[str]:
    if "lora" not in grounds.trained or len(grounds.trained) == 1:
        return
    shares = ", ".join(
        f"{METHODS[method]} {grounds.share(method)}" for method in grounds.trained if method != "lora"
    )
    yield (
        f"At {grounds.price:g} points for a tenfold saving of stored parameters (--price) that speaks for "
        f"{METHODS[answer]}; LoRA's parameters: 1×, {shares}."
    )


def against(answer: str, grounds: Grounds) -> Iterator[str]:
    """What speaks against the answer, or against trusting it."""
    if grounds.outside:
        yield "Unlike what was run: " + "; ".join(grounds.outside) + ". Published comparisons stand in."
    unknown = grounds.distance.value("unknown_share") or 0.0
    if unknown > _MUCH_UNKNOWN:
        yield f"{unknown:.0%} of the tokens are unknown to the tokenizer: another model may be needed."
    best = max(grounds.outlooks, key=lambda item: item.over_lora.mean, default=None)
    if best is not None and answer not in ("undecided", best.method):
        yield f"The best score is expected of {METHODS[best.method]}."
    trial, reach = grounds.trial, grounds.distance.reach
    if trial is not None:
        yield from trial.notes
    if reach is not None and grounds.distance.classes and _lift(reach) < _FAINT:
        yield (
            "No method is foreseen to beat the most frequent class by much: the labels may be noise, or the "
            "task beyond this model."
        )


def would_change(answer: str, grounds: Grounds) -> Iterator[str]:
    """What to do or to know for another answer."""
    trial = grounds.trial
    if trial is None:
        yield (
            "Short runs on your own examples (--trial MINUTES) compare the methods and find the learning "
            "rate, which matters more than the method."
        )
        return
    if not trial.enough and trial.needed > trial.seconds:
        more = math.ceil((trial.needed - trial.seconds) / 60)
        yield f"About {more} more minutes would complete the trial; with --work-dir it goes on where it was."
    if any(item.at_edge for item in trial.results):
        yield "A best rate at the edge of those tried: go on with the sweep."
    bitfit = grounds.bitfit
    if grounds.compared and bitfit is not None and not grounds.nothing_learned:
        yield from _more_labels(bitfit, grounds)


def _more_labels(bitfit: Outlook, grounds: Grounds) -> Iterator[str]:
    """How far twice as many examples would narrow what BitFit may cost."""
    trial = grounds.trial
    assert trial is not None
    now = bitfit.at_most(_AT_MOST)
    narrower = bitfit.over_lora.sd - grounds.by.shrunk("bitfit", 0.0, 2 * trial.held_out).sd
    if now > 1 and narrower > 0:
        spread = now + bitfit.over_lora.mean  # of the 90 %, above what is expected
        then = now - spread * narrower / bitfit.over_lora.sd
        yield (
            f"{trial.held_out:,} more labels would narrow “at most {now:.1f}” to about {then:.1f} points, "
            "were the same seen."
        )


def _lift(reach: Reach) -> float:
    """How far the best forecast lies above the most frequent class."""
    return max((item.score for item in reach.forecasts), default=reach.chance) - reach.chance


def _tried(trial: Trial) -> str:
    scores = ", ".join(f"{METHODS[item.method]} {item.score:.3f}" for item in trial.results)
    return f"Seen on {trial.held_out} examples, each held out once: {scores}."


def _reach(distance: Distance) -> Iterator[str]:
    if distance.reach is None:
        return
    found: Mapping[str, str] = {"head": "the head alone", "bitfit": "biases", "full": "all weights"}
    parts = [
        f"{found.get(item.method, 'LoRA of rank ' + item.method.partition('-')[2])} {item.score:.3f}"
        for item in distance.reach.forecasts
        if item.method in found or item.method == "lora-8"
    ]
    yield f"Forecast without training: {', '.join(parts)}. It says how high, and tells no methods apart."


def _probe(distance: Distance) -> Iterator[str]:
    probe, chance = distance.value("linear_probe"), distance.value("majority")
    if probe is None:
        return
    if chance is None:
        yield f"A linear probe on the frozen model explains {max(probe, 0.0):.0%} of the variance."
        return
    yield f"A linear probe on the frozen model is right on {probe:.1%}, guessing on {chance:.1%}."
