"""How far a task lies from what a model knows, and what each way to train could reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bitfit_probe.frozen import Frozen

if TYPE_CHECKING:
    from bitfit_probe.records.evidence import Evidence

__all__ = ["Distance", "Forecast", "LayerProbe", "Reach"]


class Forecast(Frozen):
    """What a kernel foresees for one way to train.

    Attributes
    ----------
    method
        ``head``, ``bitfit``, ``lora-8`` (the rank behind the dash) or ``full``.
    score, interval
        Leave-one-out accuracy (for a regression: R²) with a bootstrap interval over examples.
    error
        Leave-one-out mean squared error against one-hot targets (a regression: standardised targets).
    ridge, mix
        The strength and the body kernel's share that leave-one-out chose.
    """

    method: str
    score: float
    interval: tuple[float, float]
    error: float
    ridge: float
    mix: float


class Reach(Frozen):
    """What each way to train could reach, from kernels, without training.

    Attributes
    ----------
    forecasts
        ``head``, ``bitfit`` (absent where the model has no biases), LoRA by rank, ``full``.
    chance
        Accuracy of always answering the most frequent class; 0 for R².
    roles, layers
        Shares of the bias kernel's trace, largest first.
    explained
        By role and layer: the squared gradient of a constant shift beside that of the matrix,
        ‖Σ_t g‖²·‖x̄‖² / ‖Σ_t g xᵀ‖², over examples. Above 1 where tokens cancel each other in the matrix.
    smallest_rank
        The smallest LoRA rank whose score comes within the margin of the best LoRA's; None without any.
    directions
        Random directions behind the kernels.
    uncovered
        Parameters of which there is no kernel.
    """

    forecasts: tuple[Forecast, ...]
    chance: float
    roles: tuple[tuple[str, float], ...]
    layers: tuple[tuple[int | None, float], ...]
    explained: tuple[tuple[str, int | None, float], ...]
    smallest_rank: int | None
    directions: int
    uncovered: tuple[str, ...] = ()

    def of(self, method: str) -> Forecast | None:
        """The forecast for `method`."""
        return next((forecast for forecast in self.forecasts if forecast.method == method), None)


class LayerProbe(Frozen):
    """How well the task is read off one layer's features: 0 is the embeddings' output."""

    layer: int
    score: float
    interval: tuple[float, float]


class Distance(Frozen):
    """Everything measured about a task before training.

    Attributes
    ----------
    model, data
        Paths.
    examples, classes
        How many; 0 classes for a regression.
    evidence
        One number each, with interval and reading where there are.
    layers
        Cross-validated probe by depth.
    reach
        Forecasts by kernels; None where it was not asked for.
    explained_after
        By role and layer of a tuned checkpoint's matrices: the share of what their change does to their
        outputs that is a constant shift, ‖ΔW x̄‖² / E‖ΔW x‖².
    notes
        What is odd about the data, and what was not measured and why.
    """

    model: str
    data: str
    examples: int
    classes: int
    evidence: tuple[Evidence, ...]
    layers: tuple[LayerProbe, ...] = ()
    reach: Reach | None = None
    explained_after: tuple[tuple[str, int | None, float], ...] = ()
    notes: tuple[str, ...] = ()

    def value(self, measure: str) -> float | None:
        """The number of one measure."""
        found = (item.value for item in self.evidence if item.measure == measure)
        value = next(found, None)
        return float(value) if isinstance(value, (int, float)) else None
