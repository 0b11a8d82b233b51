"""Evidence, findings and the rule, put together into a recommendation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.data import TaskData
from bitfit_probe.inference.purpose import is_causal
from bitfit_probe.recommendation.advice import RANK, advise
from bitfit_probe.recommendation.costs import costs
from bitfit_probe.recommendation.decide import PRIOR, choose, outlook
from bitfit_probe.recommendation.known import Known
from bitfit_probe.recommendation.meta_features import features_of
from bitfit_probe.recommendation.reasons import against, because, would_change
from bitfit_probe.recommendation.rule import Shipped, shipped
from bitfit_probe.records import Check
from bitfit_probe.records.distance import Distance
from bitfit_probe.records.recommendation import Cost, Recommendation
from bitfit_probe.tuning.options import FEW_STEPS

__all__ = ["recommendation"]

#: Findings about what a method can't do: they speak about the choice, not about a run that went wrong.
_ABOUT_METHODS = "BP6"


def recommendation(
    checkpoint: Checkpoint,
    data: TaskData,
    distance: Distance,
    *,
    margin: float = 1.0,
    known: Known | None = None,
    by: Shipped | None = None,
) -> Recommendation:
    """Say which method to take.

    Parameters
    ----------
    checkpoint
        The base.
    data
        All examples there are to train on.
    distance
        What was measured of them.
    margin
        Points that a cheaper method may lose.
    known
        Trials, findings and tuned checkpoints.
    by
        The rule; the one that ships where not given.
    """
    known, by = known or Known(), by or shipped()
    price = costs(checkpoint, distance.classes, RANK)
    methods = tuple(cost.method for cost in price)
    values = features_of(distance, len(data)) | _size(price)
    outside = tuple(_outside(by, values, checkpoint, distance))
    outlooks = outlook(by.rule, values, methods, margin, outside=outside, trial=known.trial)
    tried = any(item.expected.basis == "trial" for item in outlooks)
    trial = known.trial if tried else None
    answer = choose({item.expected.method: item.within for item in outlooks})
    method = PRIOR if answer == "undecided" else answer
    result = trial.of(method) if trial is not None else None
    rate = result.rate if result is not None else None
    advice = advise(method, checkpoint, data, distance, known=known, rate=rate)
    return Recommendation(
        method=answer,
        # How often trials are right has not been measured; the rule's validation says nothing of them.
        calibrated=by.calibrated and not outside and trial is None,
        margin=margin,
        expected=tuple(item.expected for item in outlooks),
        because=(
            *_absent(methods),
            *because(answer, outlooks, distance, margin, trial),
            *_after(known, distance),
        ),
        against=tuple(against(answer, outlooks, outside, distance, known.trial)),
        would_change=tuple(would_change(answer, outlooks, margin, known.trial, outside)),
        advice=advice,
        costs=costs(checkpoint, distance.classes, advice.lora.rank) if advice.lora else price,
        first=(*_mend(known.check), *_train_longer(known.steps or {})),
    )


def _size(price: tuple[Cost, ...]) -> dict[str, float]:
    full = next((cost.trainable for cost in price if cost.method == "full"), 0)
    return {"log2_parameters": math.log2(full)} if full else {}


#: How a value outside the range of the cells is said: what it is, and how to write it and the range.
_SPOKEN: Mapping[str, tuple[str, Callable[[float], str]]] = {
    "log2_examples": ("{} examples", lambda value: f"{2**value:,.0f}"),
    "log2_classes": ("{} classes", lambda value: f"{2**value:,.0f}"),
    "log2_parameters": ("{} million parameters", lambda value: f"{2**value / 1e6:,.1f}"),
    "skill": ("a linear probe {} of the way from guessing to always right", lambda value: f"{value:.0%}"),
}


def _outside(
    by: Shipped, values: Mapping[str, float], checkpoint: Checkpoint, distance: Distance
) -> Iterator[str]:
    """In which ways the task is unlike all that the rule was fitted to."""
    if is_causal(checkpoint.config):
        yield "the model is a decoder, and the rule was fitted to encoders"
    if not distance.classes:
        yield "the task is a quantity, and the rule was fitted to classes"
    for name, (low, high) in by.rule.outside(values).items():
        if name in _SPOKEN:
            sentence, spell = _SPOKEN[name]
            spoken = sentence.format(spell(values[name]))
            yield f"{spoken}, where the rule was fitted to {spell(low)} to {spell(high)}"


def _absent(methods: tuple[str, ...]) -> Iterator[str]:
    if "bitfit" not in methods:
        yield "The model has no biases, so BitFit has nothing to train."


def _after(known: Known, distance: Distance) -> Iterator[str]:
    """What tuned checkpoints reached, beside what was foreseen."""
    reach = distance.reach
    for path, score in (known.scores or {}).items():
        said = f"{path} scores {score:.3f} on the examples, which it may have been trained on"
        if reach is not None:
            foreseen = ", ".join(f"{item.method} {item.score:.3f}" for item in reach.forecasts)
            said += f"; foreseen without training: {foreseen}"
        yield said + "."


def _mend(check: Check | None) -> Iterator[str]:
    """What to mend before changing the method, worst first."""
    for finding in check.findings if check is not None else ():
        if finding.severity != "info" and not finding.code.startswith(_ABOUT_METHODS):
            yield f"{finding.code}: {finding.message} {finding.advice}".strip()


def _train_longer(steps: Mapping[str, int]) -> Iterator[str]:
    """Runs so short that what looks like the method's limit may be their end."""
    for path, taken in steps.items():
        if taken < FEW_STEPS:
            yield (
                f"{path} was trained for {taken:,} steps, fewer than any run behind this advice "
                f"({FEW_STEPS}): train longer before changing the method."
            )
