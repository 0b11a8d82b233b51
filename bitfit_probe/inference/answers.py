"""One pass over examples, and what of it is kept: logits, losses, and what a new head could read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bitfit_probe.data import TaskData
from bitfit_probe.inference.live import LiveModel
from bitfit_probe.inference.question import Question
from bitfit_probe.inference.running import Asked, logits_of, running

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

__all__ = ["Answers", "answers", "head_layer", "similarities"]

#: Called with the examples done since the last call.
Tick = Callable[[int], None]


@dataclass(frozen=True)
class Answers:
    """What one pass gave, an example a row, in the order of the examples.

    Attributes
    ----------
    losses
        As `Question.losses`; shape (examples,).
    logits
        Of a classifier or regression, shape (examples, outputs); without columns for language models.
    head_inputs
        What the head's last layer reads, shape (examples, width); without columns where there is none.
    means, firsts, lasts
        The body's last hidden states: their mean over a text's tokens, the first and the last token's. Of
        `similarities` the cosines of these, shape (examples, 1).
    """

    losses: npt.NDArray[np.float64]
    logits: npt.NDArray[np.float64]
    head_inputs: npt.NDArray[np.float32]
    means: npt.NDArray[np.float32]
    firsts: npt.NDArray[np.float32]
    lasts: npt.NDArray[np.float32]

    def take(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> Answers:
        """Those of the examples with these numbers."""
        return Answers(*(getattr(self, field.name)[rows] for field in fields(self)))


def head_layer(model: Any) -> tuple[str, Any] | None:
    """Name and module of the linear layer that makes a classifier's logits; None where there is none."""
    from torch import nn

    outputs = model.config.num_labels
    body = set(model.base_model.modules()) if model.base_model is not model else set()
    found = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module.out_features == outputs and module not in body
    ]
    return found[-1] if found else None


def answers(live: LiveModel, question: Question, batches: Sequence[Asked], tick: Tick) -> Answers:
    """Run a classifier or language model once over examples in batches.

    Parameters
    ----------
    batches
        Of `ask`; the answers come in the order of their examples' numbers.

    Raises
    ------
    ModelError
        The model can't be run on these inputs.
    """
    import torch

    parts: list[list[torch.Tensor]] = []
    order: list[int] = []
    with torch.inference_mode(), _watched(live, question) as seen:
        for batch in batches:
            logits = logits_of(live.model, batch)
            parts.append(_kept(logits, batch, question, seen))
            order += batch.rows
            tick(len(batch.rows))
    places = np.argsort(order)
    losses, logits_, *states = (torch.cat(column).numpy()[places] for column in zip(*parts, strict=True))
    return Answers(losses.astype(np.float64), logits_.astype(np.float64), *states)


def similarities(live: LiveModel, data: TaskData, tick: Tick) -> Answers:
    """The cosine of each pair's two vectors, by the model's own pooling as `logits`, and by the others.

    Raises
    ------
    ModelError
        The model can't be run on these inputs.
    """
    assert data.pairs is not None
    sides = [
        _pooled(live, replace(data, texts=texts, pairs=None), tick) for texts in (data.texts, data.pairs)
    ]
    cosines = {}
    for name in ("mean", "first", "last"):
        one, other = (side[name] for side in sides)
        lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
        cosines[name] = ((one * other).sum(1) / np.maximum(lengths, 1e-30))[:, None]
    nothing = np.empty((len(data), 0), np.float32)
    own = cosines[live.pooling].astype(np.float64)
    return Answers(1 - own[:, 0], own, nothing, cosines["mean"], cosines["first"], cosines["last"])


def _pooled(live: LiveModel, data: TaskData, tick: Tick) -> dict[str, npt.NDArray[np.float32]]:
    """The last hidden states by each pooling, shape (examples, width), in the order of the examples."""
    import torch

    kept: dict[str, list[torch.Tensor]] = {"mean": [], "first": [], "last": []}
    order: list[int] = []
    with torch.inference_mode(), running(live.model):
        for batch in live.batches(data, whole=True):
            states = live.body(**batch.inputs).last_hidden_state.float()
            for name, parts in kept.items():
                parts.append(replace(live, pooling=name).pool(states, batch.mask))  # type: ignore[arg-type]
            order += batch.rows
            tick(len(batch.rows))
    places = np.argsort(order)
    return {name: torch.cat(parts).numpy()[places] for name, parts in kept.items()}


def _kept(
    logits: torch.Tensor, batch: Asked, question: Question, seen: dict[str, torch.Tensor]
) -> list[torch.Tensor]:
    """Losses, logits, the head's input and the pooled states of one batch."""
    count = len(batch.rows)
    nothing = logits.new_empty((count, 0))
    losses = question.losses(logits, batch.targets)
    if question.kind not in ("classification", "regression"):
        return [losses, nothing, nothing, nothing, nothing, nothing]
    mask = batch.mask.float()
    ends = (mask * mask.cumsum(1)).argmax(1)

    def last(states: torch.Tensor) -> torch.Tensor:
        return states.gather(1, ends[:, None, None].expand(-1, 1, states.shape[-1]))[:, 0]

    head = seen.get("head", nothing)
    head = last(head) if head.dim() == 3 and head.shape[1] == mask.shape[1] else head.reshape(count, -1)
    states = seen.get("body")
    if states is None or states.dim() != 3 or states.shape[1] != mask.shape[1]:
        return [losses, logits, head.float(), nothing, nothing, nothing]
    mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    return [losses, logits, head.float(), mean.float(), states[:, 0].float(), last(states).float()]


@contextlib.contextmanager
def _watched(live: LiveModel, question: Question) -> Iterator[dict[str, torch.Tensor]]:
    """What the head's last layer was given, and what the body gave, after each batch."""
    seen: dict[str, torch.Tensor] = {}
    handles = []
    if question.kind in ("classification", "regression"):
        layer = head_layer(live.model)
        if layer is not None:
            handles.append(
                layer[1].register_forward_pre_hook(lambda _, given: seen.update(head=given[0].detach()))
            )
        handles.append(live.body.register_forward_hook(lambda _, __, out: seen.update(body=out[0].detach())))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
