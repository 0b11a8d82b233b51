"""What examples ask of a model, and how wrong each answer is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bitfit_probe.data import TaskData
from bitfit_probe.data.labels import number
from bitfit_probe.errors import DataError
from bitfit_probe.inference.language_loss import masked, next_tokens, token_losses
from bitfit_probe.inference.live import LiveModel
from bitfit_probe.inference.running import Asked, Batch

if TYPE_CHECKING:
    import torch

__all__ = ["Question", "ask", "question_of"]

#: Texts that are looked at for unknown tokens, and the share of them that is worth a note.
_LOOKED_AT, _MANY = 200, 0.1

Kind = Literal["classification", "regression", "causal-lm", "masked-lm", "similarity"]


@dataclass(frozen=True)
class Question:
    """What the examples ask of the model, and how wrong an answer is.

    Attributes
    ----------
    kind
        The kind of task.
    labels
        A class number or a quantity for each example; empty for language models.
    scale
        By what squared errors are divided: the variance of the labels.
    notes
        What a person should know about how model and data fit.
    """

    kind: Kind
    labels: tuple[int, ...] | tuple[float, ...] = ()
    scale: float = 1.0
    notes: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        """What a loss is counted in."""
        return "label variances" if self.kind == "regression" else "nats"

    def losses(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The loss of each example, shape (examples,).

        Cross-entropy; squared error over the variance of the labels; for language models the mean
        cross-entropy of the tokens that are asked for.
        """
        from torch.nn.functional import cross_entropy

        if self.kind == "regression":
            return (logits.squeeze(-1) - targets) ** 2 / self.scale
        if self.kind == "classification":
            return cross_entropy(logits, targets, reduction="none")
        return token_losses(logits, targets)

    def answers(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The logits that count: all of a classifier, those of the asked tokens of a language model."""
        if self.kind not in ("causal-lm", "masked-lm"):
            return logits
        asked = targets >= 0
        return logits[asked].gather(1, targets[asked].unsqueeze(1))

    def right(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor | None:
        """Which examples get their class, shape (examples,); None where there are no classes."""
        return logits.argmax(-1) == targets if self.kind == "classification" else None

    def about(self, batch: Batch, tokenizer: Any) -> Asked:
        """The batch with its targets; for a masked language model with masks in its inputs.

        Raises
        ------
        ModelError
            The tokenizer has no mask token.
        """
        import torch

        if self.kind == "causal-lm":
            return next_tokens(batch)
        if self.kind == "masked-lm":
            return masked(batch, tokenizer)
        targets = torch.tensor([self.labels[row] for row in batch.rows])
        targets = targets if self.kind == "classification" else targets.float()
        return Asked(batch.rows, batch.inputs, targets)


def ask(
    live: LiveModel, question: Question, data: TaskData, rows: Sequence[int] | None = None
) -> list[Asked]:
    """The examples (or those with these numbers) in batches, with their targets."""
    return [question.about(batch, live.tokenizer) for batch in live.batches(data, rows, whole=True)]


def question_of(data: TaskData, live: LiveModel, *, drawn: bool = False) -> Question:
    """What `data` asks of a model: its labels, or of a language model its own words.

    Parameters
    ----------
    drawn
        Ask a classifier of which a part was drawn at random, too, as whoever loads it would.

    Raises
    ------
    DataError
        There are no labels and the model is no language model, or the labels are none of this model's.
    ModelError
        The checkpoint does not hold all that the model needs to answer.
    """
    if live.purpose not in ("causal-lm", "masked-lm") and data.labels is None:
        raise DataError(
            f"no label column was recognised, and {live.checkpoint.path} is no language model",
            advice="name the column with --label",
            path=data.path,
        )
    if not drawn or live.purpose != "classify":
        live.require_whole()
    notes, config = tuple(_notes(data, live)), live.model.config
    if live.purpose == "causal-lm" or live.purpose == "masked-lm":
        return Question(live.purpose, notes=notes)
    if config.num_labels == 1:
        values = data.quantities()
        mean = sum(values) / len(values)
        scale = sum((v - mean) ** 2 for v in values) / len(values) or 1.0
        return Question("regression", values, scale, notes)
    return Question("classification", data.class_numbers(config.id2label), notes=notes)


def _notes(data: TaskData, live: LiveModel) -> Iterator[str]:
    yield from data.notes
    unknown = _unknown_share(live.tokenizer, data.texts[:_LOOKED_AT])
    if unknown >= _MANY:  # then the figures tell little
        yield f"{unknown:.0%} of the tokens are unknown to the tokenizer"
    config = live.model.config
    if live.purpose == "classify" and config.num_labels > 1 and _by_order(data, config.id2label):
        yield "config.json names no classes: the labels were taken in alphabetical order"
    if data.labels is not None and live.purpose != "classify":
        yield "the labels were left aside: the model is a language model"


def _by_order(data: TaskData, id2label: Mapping[int, str]) -> bool:
    unnamed = all(name == f"LABEL_{place}" for place, name in id2label.items())
    return unnamed and not any(
        number(name) is not None or name in id2label.values() for name in data.label_names
    )


def _unknown_share(tokenizer: Any, texts: Sequence[str]) -> float:
    if tokenizer.unk_token_id is None:
        return 0.0
    ids = tokenizer(list(texts), add_special_tokens=False, truncation=True)["input_ids"]
    unknown: int = sum(row.count(tokenizer.unk_token_id) for row in ids)
    return unknown / max(sum(map(len, ids)), 1)
