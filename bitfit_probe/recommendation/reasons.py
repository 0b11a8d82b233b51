"""The sentences of a recommendation: what speaks for the answer, against it, and what would change it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from bitfit_probe.recommendation.decide import SURE, Outlook
from bitfit_probe.records.distance import Distance, Reach
from bitfit_probe.records.recommendation import METHODS, Trial

__all__ = ["against", "because", "would_change"]


def because(
    answer: str,
    outlooks: Sequence[Outlook],
    distance: Distance,
    margin: float,
    trial: Trial | None,
) -> Iterator[str]:
    """What speaks for the answer."""
    by_method = {item.expected.method: item for item in outlooks}
    if answer in by_method:
        yield _chance(by_method[answer], margin)
    else:
        yield (
            f"No method is likely enough to come within {_points(margin)} of the best: LoRA has to be "
            f"likelier than not, another one {SURE:.0%} likely."
        )
    for item in outlooks:
        if _before(item, answer, outlooks):
            yield _chance(item, margin) + (" It would be cheaper." if answer in by_method else "")
    if trial is not None and trial.results:
        yield _tried(trial)
    yield from _reach(distance)
    yield from _probe(distance)


def against(
    answer: str,
    outlooks: Sequence[Outlook],
    outside: Sequence[str],
    distance: Distance,
    trial: Trial | None,
) -> Iterator[str]:
    """What speaks against the answer, or against trusting it."""
    if outside and trial is None:
        yield "Out of range: " + "; ".join(outside) + ". Published comparisons of other models stand in."
    unknown = distance.value("unknown_share") or 0.0
    if unknown > _MUCH_UNKNOWN:
        yield f"{unknown:.0%} of the tokens are unknown to the tokenizer: another model may be needed."
    for item in outlooks:
        if item.expected.method == answer and item.expected.interval[1] > 0:
            yield (
                f"It may lose up to {item.expected.interval[1]:.1f} points to the best method (the upper end "
                "of the 80 % interval)."
            )
    better = min(outlooks, key=lambda item: item.expected.gap, default=None)
    if better is not None and answer not in ("undecided", better.expected.method):
        yield f"The best score is expected of {METHODS[better.expected.method]}."
    if trial is not None:
        yield from trial.notes
    if distance.reach is not None and distance.classes and _lift(distance.reach) < _FAINT:
        yield (
            "No method is foreseen to beat the most frequent class by much: the labels may be noise, or the "
            "task beyond this model."
        )


#: From here on the model does not see what is written. A convention: English texts have almost none.
_MUCH_UNKNOWN = 0.1
#: A forecast less than this above the most frequent class says that nothing may be learned. A convention.
_FAINT = 0.02


def would_change(
    answer: str, outlooks: Sequence[Outlook], margin: float, trial: Trial | None, outside: Sequence[str]
) -> Iterator[str]:
    """What to do or to know for another answer."""
    for item in outlooks:
        method = item.expected.method
        if method == answer:
            break
        if item.enough > margin and method != "full":
            enough = math.ceil(10 * item.enough - 1e-6) / 10  # rounded up, so that it is enough
            yield f"A margin of {enough:.1f} points or more would speak for {METHODS[method]}."
    if trial is None:
        yield "Short runs on your own data (--trial 10) take the place of the forecasts."
    elif not trial.enough:
        yield f"A longer trial than {trial.minutes:g} minutes would narrow the intervals."
    if outside and trial is None:
        yield "Nothing like this was run for the rule, so a trial is the only measured answer there is."


def _lift(reach: Reach) -> float:
    """How far the best forecast lies above the most frequent class."""
    return max((item.score for item in reach.forecasts), default=reach.chance) - reach.chance


def _before(item: Outlook, answer: str, outlooks: Sequence[Outlook]) -> bool:
    order = [other.expected.method for other in outlooks]
    return answer not in order or order.index(item.expected.method) < order.index(answer)


def _chance(item: Outlook, margin: float) -> str:
    low, high = item.expected.interval
    return (
        f"The chance of {METHODS[item.expected.method]} to be within {_points(margin)} of the best is "
        f"{item.within:.0%} (expected {item.expected.gap:.1f} points below it, 80 % interval {low:.1f} to "
        f"{high:.1f})."
    )


def _points(margin: float) -> str:
    return "a point" if margin == 1 else f"{margin:g} points"


def _tried(trial: Trial) -> str:
    scores = ", ".join(f"{METHODS[item.method]} {item.score:.3f}" for item in trial.results)
    return f"Trained on {trial.trained_on} of the examples and tested on {trial.held_out} others: {scores}."


def _reach(distance: Distance) -> Iterator[str]:
    if distance.reach is None:
        return
    found: Mapping[str, str] = {"head": "the head alone", "bitfit": "biases", "full": "all weights"}
    parts = [
        f"{found.get(item.method, 'LoRA of rank ' + item.method.partition('-')[2])} {item.score:.3f}"
        for item in distance.reach.forecasts
        if item.method in found or item.method == "lora-8"
    ]
    yield "Forecast without training: " + ", ".join(parts) + "."


def _probe(distance: Distance) -> Iterator[str]:
    probe, chance = distance.value("linear_probe"), distance.value("majority")
    if probe is None:
        return
    if chance is None:
        yield f"A linear probe on the frozen model explains {max(probe, 0.0):.0%} of the variance."
        return
    yield f"A linear probe on the frozen model is right on {probe:.1%}, guessing on {chance:.1%}."
