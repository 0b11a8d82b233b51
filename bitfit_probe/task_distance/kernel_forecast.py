"""Reach: what each way to train is foreseen to score, from kernels and closed-form leave-one-out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bitfit_probe.data import TaskData
from bitfit_probe.inference import LiveModel, Progress
from bitfit_probe.records.distance import Forecast, Reach
from bitfit_probe.task_distance.intervals import bootstrap_mean
from bitfit_probe.task_distance.kernels import DEFAULT, Kernels, Settings, inverse_deviation, kernels
from bitfit_probe.task_distance.ridge import Fit, best_fit

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["forecast", "head_kernel", "reach", "score_kernel", "targets_of"]


def reach(
    live: LiveModel,
    data: TaskData,
    settings: Settings = DEFAULT,
    *,
    margin: float = 0.01,
    progress: Progress | None = None,
    final: npt.NDArray[np.floating] | None = None,
) -> Reach:
    """Forecast head, biases, LoRA and all weights on a task.

    Parameters
    ----------
    live
        The frozen model.
    data
        Labelled examples, a few hundred.
    settings
        Of the kernels.
    margin
        How close a LoRA rank must come to the best one to be enough, as a share.
    progress
        Told about passes over examples.
    final
        Pooled features of the last layer where they are known already, shape (examples, width).
    """
    found = kernels(live, data, settings, progress, final=final)
    return forecast(found, data, margin=margin, directions=settings.directions)


def forecast(found: Kernels, data: TaskData, *, margin: float = 0.01, directions: int = 0) -> Reach:
    """The forecasts that kernels give; see :func:`reach`."""
    head = head_kernel(found.features)
    bodies: dict[str, npt.NDArray[np.float64] | None] = {"head": None}
    if found.bias:
        bodies["bitfit"] = found.all_biases
    bodies |= {f"lora-{rank}": kernel for rank, kernel in sorted(found.lora.items())}
    bodies["full"] = found.full
    forecasts = tuple(_forecast(method, head, body, data) for method, body in bodies.items())
    roles, layers = _shares(found)
    return Reach(
        forecasts=forecasts,
        chance=_chance(data),
        roles=roles,
        layers=layers,
        explained=tuple(
            (*place, shift / whole) for place, (shift, whole) in found.explained.items() if whole
        ),
        smallest_rank=_smallest_rank(forecasts, margin),
        directions=directions,
        uncovered=found.uncovered,
    )


def targets_of(data: TaskData) -> npt.NDArray[np.float64]:
    """What a ridge is fitted to: one-hot classes, or the standardised quantity. Shape (examples, outputs)."""
    labels = np.asarray(data.labels)
    if data.task == "classification":
        return np.asarray(np.eye(len(data.label_names))[labels])
    return np.asarray((labels - labels.mean()) / (labels.std() or 1.0))[:, None]


def head_kernel(features: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Inner products of standardised features; shape (examples, width) to (examples, examples)."""
    unit = (features - features.mean(0)) * inverse_deviation(features)
    return np.asarray(unit @ unit.T)


def score_kernel(
    head: npt.NDArray[np.float64], body: npt.NDArray[np.float64] | None, data: TaskData, seed: int = 0
) -> tuple[float, tuple[float, float], Fit]:
    """Leave-one-out score of a pair of kernels, its bootstrap interval, and the fit behind it."""
    fit = best_fit(head, body, targets_of(data))
    if data.task == "classification":
        right = fit.predictions.argmax(1) == np.asarray(data.labels)
        return *bootstrap_mean(right.astype(float), seed=seed), fit
    residual = (fit.predictions - targets_of(data))[:, 0] ** 2
    mean, (low, high) = bootstrap_mean(residual, seed=seed)
    return 1 - mean, (1 - high, 1 - low), fit


def _forecast(
    method: str, head: npt.NDArray[np.float64], body: npt.NDArray[np.float64] | None, data: TaskData
) -> Forecast:
    score, interval, fit = score_kernel(head, body, data)
    return Forecast(method, score, interval, fit.error, fit.ridge, fit.mix)


def _chance(data: TaskData) -> float:
    if data.task != "classification":
        return 0.0
    return float(np.bincount(np.asarray(data.labels, int)).max() / len(data))


def _smallest_rank(forecasts: tuple[Forecast, ...], margin: float) -> int | None:
    scores = {int(f.method.partition("-")[2]): f.score for f in forecasts if f.method.startswith("lora-")}
    if not scores:
        return None
    best = max(scores.values())
    return min(rank for rank, score in scores.items() if score >= best - margin)


def _explained(found: Kernels) -> tuple[tuple[str, int | None, float], ...]:
    return tuple(
        (role, layer, shift / whole) for (role, layer), (shift, whole) in found.explained.items() if whole
    )


Shares = tuple[tuple[tuple[str, float], ...], tuple[tuple[int | None, float], ...]]


def _shares(found: Kernels) -> Shares:
    traces = {place: float(np.trace(kernel)) for place, kernel in found.bias.items()}
    total = sum(traces.values()) or 1.0
    roles: dict[str, float] = {}
    layers: dict[int | None, float] = {}
    for (role, layer), trace in traces.items():
        roles[role] = roles.get(role, 0.0) + trace / total
        layers[layer] = layers.get(layer, 0.0) + trace / total
    return (
        tuple(sorted(roles.items(), key=lambda item: -item[1])),
        tuple(sorted(layers.items(), key=lambda item: (item[0] is not None, item[0] or 0))),
    )
