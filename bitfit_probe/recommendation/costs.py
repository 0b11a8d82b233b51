"""What each method costs on a model, from the headers of its checkpoint."""

from __future__ import annotations

from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.recommendation.parameter_count import TaskModel, task_model
from bitfit_probe.records.recommendation import METHODS, Cost

__all__ = ["costs"]

_FLOAT32 = 4
#: What AdamW keeps of a trained parameter besides itself: its gradient and two moments.
_KEPT_BY_ADAM = 3


def costs(checkpoint: Checkpoint, classes: int, rank: int) -> tuple[Cost, ...]:
    """What BitFit, LoRA and full fine-tuning train, and what that takes.

    Parameters
    ----------
    checkpoint
        The base; its headers are enough.
    classes
        Classes of the task; 0 for a regression.
    rank
        LoRA's r, beside every linear layer of the body.

    Returns
    -------
    tuple of Cost
        Fewest trained parameters first. BitFit is absent where the model has no biases, LoRA where it has
        no linear layers. Of an architecture that is not known the head counts as one linear layer.
    """
    model = task_model(checkpoint, classes)
    trained = _trained(model, rank)
    # Of methods that train equally many, the one that changes less of the model first.
    order = list(METHODS)
    cheapest_first = sorted(trained, key=lambda method: (trained[method], order.index(method)))
    return tuple(_cost(method, trained[method]) for method in cheapest_first)


def _trained(model: TaskModel, rank: int) -> dict[str, int]:
    """Trained parameters by method; what the base lacks is trained by each of them."""
    always = model.head + model.new
    found = {"full": sum(item.size for item in model.body) + always}
    if model.biases:
        found["bitfit"] = sum(item.size for item in model.biases) + always
    if model.linear:
        found["lora"] = rank * sum(sum(item.shape) for item in model.linear) + always
    return found


def _cost(method: str, trained: int) -> Cost:
    return Cost(method, trained, _KEPT_BY_ADAM * _FLOAT32 * trained, _FLOAT32 * trained)
