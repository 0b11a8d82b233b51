"""Evidence, findings and the price of parameters, put together into a recommendation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.data import TaskData
from bitfit_probe.inference.purpose import is_causal
from bitfit_probe.recommendation.advice import RANK, advise
from bitfit_probe.recommendation.calibration import Calibration, shipped
from bitfit_probe.recommendation.costs import costs
from bitfit_probe.recommendation.known import Known
from bitfit_probe.recommendation.outlook import (
    Outlook,
    choose,
    expected_of,
    margin_price,
    outlooks,
    price_table,
)
from bitfit_probe.recommendation.reasons import Grounds, against, because, would_change
from bitfit_probe.records import Check
from bitfit_probe.records.distance import Distance
from bitfit_probe.records.options import RecommendOptions
from bitfit_probe.records.recommendation import Answer, Recommendation
from bitfit_probe.tuning.options import FEW_STEPS

__all__ = ["recommendation"]

#: Findings about what a method can't do: they speak about the choice, not about a run that went wrong.
_ABOUT_METHODS = "BP6"


def recommendation(
    checkpoint: Checkpoint,
    data: TaskData,
    distance: Distance,
    *,
    options: RecommendOptions | None = None,
    known: Known | None = None,
    by: Calibration | None = None,
) -> Recommendation:
    """Say which method to take.

    Nothing that can be measured without training tells the methods apart (docs/validation.md), so without a
    trial the price of parameters decides between what methods are worth on average.

    Parameters
    ----------
    checkpoint
        The base.
    data
        All examples there are to train on.
    distance
        What was measured of them.
    options
        The price of parameters.
    known
        Trials, findings and tuned checkpoints.
    by
        What the runs say; what ships where not given.
    """
    options, known, by = options or RecommendOptions(), known or Known(), by or shipped()
    cost = costs(checkpoint, distance.classes, RANK)
    trained = {item.method: item.trainable for item in cost}
    price = options.price
    if options.margin is not None:
        price = margin_price(options.margin, trained) or price
    sizes = {"parameters": trained.get("full", 0), "classes": distance.classes, "examples": len(data)}
    outside = tuple(_outside(checkpoint, distance, sizes, by))
    found = outlooks(tuple(trained), by, known.trial, outside=bool(outside))
    grounds = Grounds(found, trained, price, distance, known.trial, by, outside)
    method = cast("Answer", choose(found, trained, price))
    answer: Answer = "undecided" if grounds.nothing_learned else method
    result = known.trial.of(method) if known.trial is not None else None
    rate = result.rate if result is not None else None
    advice = advise(method, checkpoint, data, distance, known=known, rate=rate)
    return Recommendation(
        method=answer,
        calibrated=_calibrated(by, found, known, outside),
        price=price,
        margin=options.margin,
        prices=price_table(found, trained),
        expected=expected_of(found),
        because=(*_absent(tuple(trained)), *because(answer, grounds), *_after(known, distance)),
        against=tuple(against(answer, grounds)),
        would_change=tuple(would_change(answer, grounds)),
        advice=advice,
        costs=costs(checkpoint, distance.classes, advice.lora.rank) if advice.lora else cost,
        first=(*_mend(known.check), *_train_longer(known.steps or {})),
    )


def _calibrated(by: Calibration, found: tuple[Outlook, ...], known: Known, outside: tuple[str, ...]) -> bool:
    """Whether answers of trials with so many examples held out, on tasks like this one, passed."""
    trial = known.trial
    if trial is None or outside or any(item.basis != "trial" for item in found if item.method != "full"):
        return False
    return by.passed[by.nearest(trial.held_out)]


def _outside(
    checkpoint: Checkpoint, distance: Distance, sizes: Mapping[str, int], by: Calibration
) -> Iterator[str]:
    """In which ways model and task are unlike all that was run."""
    if is_causal(checkpoint.config):
        yield "the model is a decoder, and the runs are of encoders"
    if not distance.classes:
        yield "the task is a quantity, and the runs are of classes"
    for name, (low, high) in by.ranges.items():
        if sizes[name] and not low <= sizes[name] <= high:
            yield f"{sizes[name]:,} {name}, where the runs have {low:,.0f} to {high:,.0f}"


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
