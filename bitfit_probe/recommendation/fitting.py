"""Fit the rule of the decision to cells: tasks on which all methods were run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bitfit_probe.recommendation.rule import FEATURES, Line, Rule
from bitfit_probe.records.recommendation import METHODS

__all__ = ["Fitter", "Sample", "fit", "without_each_task"]


@dataclass(frozen=True)
class Sample:
    """A cell: one model on one training set.

    Attributes
    ----------
    model, task, size, seed
        Which one.
    values
        The features of `bitfit_probe.recommendation.meta_features`.
    scores
        Accuracy of each method at its best rate, as a share.
    """

    model: str
    task: str
    size: int
    seed: int
    values: Mapping[str, float]
    scores: Mapping[str, float]

    def over_lora(self, method: str) -> float:
        """Points above LoRA."""
        return 100 * (self.scores[method] - self.scores["lora"])

    def gap(self, method: str) -> float:
        """Points below the best of the three methods."""
        return 100 * (max(self.scores[name] for name in METHODS) - self.scores[method])


#: From samples to a rule; validation tries several.
Fitter = Callable[[Sequence[Sample]], Rule]


def fit(samples: Sequence[Sample], features: Mapping[str, tuple[str, ...]] = FEATURES) -> Rule:
    """A Bayesian ridge a method (MacKay 1992), its misses taken on tasks that it was not fitted to.

    Parameters
    ----------
    samples
        Cells of at least three tasks.
    features
        For BitFit and full: what the line may look at.
    """
    missed = [
        tuple(
            sample.over_lora(method) - _line(rest, method, names).at(sample.values)
            for method, names in features.items()
        )
        for held_out, rest in without_each_task(samples)
        for sample in held_out
    ]
    lines = {method: _line(samples, method, names) for method, names in features.items()}
    points = tuple(dict(sample.values) for sample in samples)
    return Rule(lines, tuple((bias, full) for bias, full in missed), points)


def without_each_task(samples: Sequence[Sample]) -> Iterator[tuple[list[Sample], list[Sample]]]:
    """For each task: its cells, on whichever model, and all others."""
    for task in dict.fromkeys(sample.task for sample in samples):
        held_out = [sample for sample in samples if sample.task == task]
        yield held_out, [sample for sample in samples if sample.task != task]


def _line(samples: Sequence[Sample], method: str, features: tuple[str, ...]) -> Line:
    """Points above LoRA as a line in the features; every task counts the same however often it was run."""
    from sklearn.linear_model import BayesianRidge

    table = np.array([[sample.values[name] for name in features] for sample in samples])
    target = np.array([sample.over_lora(method) for sample in samples])
    tasks = [sample.task for sample in samples]
    weights = np.array([1 / tasks.count(task) for task in tasks])
    weights *= len(weights) / weights.sum()
    means, scales = np.average(table, axis=0, weights=weights), table.std(0)
    scales = np.where(scales > 0, scales, 1.0)
    if not features:
        return Line((), (), (), (), float(np.average(target, weights=weights)))
    model = BayesianRidge().fit((table - means) / scales, target, sample_weight=weights)
    slopes = tuple(map(float, model.coef_))
    return Line(
        features, tuple(map(float, means)), tuple(map(float, scales)), slopes, float(model.intercept_)
    )
