"""Examples as batches of tokens, and the loss of each one of them."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.data import TaskData
from bitfit_probe.errors import DataError, ModelError
from bitfit_probe.inference import Purpose, longest_text, running

if TYPE_CHECKING:
    import torch

__all__ = ["Batch", "Question", "batches", "logits_of", "purpose_of", "question"]

#: Tokens of a batch, padding included; larger ones are no faster on a CPU.
_TOKENS = 2048
_SEED = 1
#: The share of tokens that a masked language model is asked for (Devlin et al. 2019, §3.1).
_MASKED = 0.15
#: Tokens of a text for models that know no limit.
_USUAL_LENGTH = 512

#: What is asked of the model about each text.
Kind = Literal["classification", "regression", "causal-lm", "masked-lm"]


@dataclass(frozen=True)
class Batch:
    """Examples of similar length, padded to the longest.

    Attributes
    ----------
    rows
        Which of the data's examples they are.
    inputs
        The model's arguments, each of shape (examples, tokens).
    targets
        Class numbers (examples,), quantities (examples,), or token numbers (examples, tokens) with −100 where
        nothing is asked.
    """

    rows: tuple[int, ...]
    inputs: Mapping[str, torch.Tensor]
    targets: torch.Tensor


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
    """

    kind: Kind
    labels: tuple[int, ...] | tuple[float, ...] = ()
    scale: float = 1.0

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
        if self.kind == "causal-lm":
            logits, targets = logits[:, :-1], targets[:, 1:]
        each = cross_entropy(logits.transpose(1, 2), targets, reduction="none", ignore_index=-100)
        return each.sum(1) / (targets != -100).sum(1).clamp(min=1)

    def answers(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The logits that count: all of a classifier, those of the asked tokens of a language model."""
        if self.kind not in ("causal-lm", "masked-lm"):
            return logits
        if self.kind == "causal-lm":
            logits, targets = logits[:, :-1], targets[:, 1:]
        asked = targets != -100
        return logits[asked].gather(1, targets[asked].unsqueeze(1))

    def right(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor | None:
        """Which examples get their class, shape (examples,); None where there are no classes."""
        return logits.argmax(-1) == targets if self.kind == "classification" else None


def purpose_of(checkpoint: Checkpoint, config: Mapping[str, Any], data: TaskData) -> Purpose:
    """Which head to run: the language model's where the config says that there is one, else the classifier.

    Raises
    ------
    DataError
        There are no labels, and the model is no language model.
    """
    names = " ".join(map(str, config.get("architectures") or ()))
    if "ForCausalLM" in names or "LMHeadModel" in names:
        return "causal-lm"
    if "ForMaskedLM" in names or "ForPreTraining" in names:
        return "masked-lm"
    if data.labels is None:
        raise DataError(
            f"no label column was recognised, and {checkpoint.path} is no language model",
            advice="name the column with --label",
            path=data.path,
        )
    return "classify"


def question(data: TaskData, config: Any, purpose: Purpose) -> Question:
    """What `data` asks of a model with this (transformers) config.

    Raises
    ------
    DataError
        The labels are none of this model's.
    """
    if purpose == "causal-lm":
        return Question("causal-lm")
    if purpose == "masked-lm":
        return Question("masked-lm")
    if config.num_labels == 1:
        values = data.quantities()
        mean = sum(values) / len(values)
        return Question("regression", values, sum((v - mean) ** 2 for v in values) / len(values) or 1.0)
    return Question("classification", data.class_numbers(config.id2label))


def batches(
    data: TaskData, asked: Question, tokenizer: Any, model: Any, rows: Sequence[int] | None = None
) -> list[Batch]:
    """The examples with these numbers (all of them by default), sorted by length and cut into batches.

    Raises
    ------
    ModelError
        The tokenizer is not this model's, or can't pad or mask.
    """
    encode = _encoder(tokenizer, model)
    rows = range(len(data)) if rows is None else rows
    chosen = data.take(rows)
    lengths = [len(ids) for ids in encode(chosen, padding=False)["input_ids"]]
    order = sorted(range(len(rows)), key=lambda place: lengths[place])
    found = []
    for group in _cut(order, lengths):
        inputs = encode(chosen.take(group), padding=True, return_tensors="pt")
        numbers = tuple(rows[place] for place in group)
        found.append(_batch(numbers, dict(inputs), asked, tokenizer))
    _check_vocabulary(found, model, tokenizer)
    return found


def logits_of(model: Any, batch: Batch) -> torch.Tensor:
    """The model's answers to a batch, in float32.

    Raises
    ------
    ModelError
        It can't be run on these inputs.
    """
    with running(model):
        logits: torch.Tensor = model(**batch.inputs).logits
    return logits.float()


def _encoder(tokenizer: Any, model: Any) -> Callable[..., Any]:
    """A function from examples to the model's inputs, cut at what the model can take."""
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise ModelError("the tokenizer has no padding token", advice="add one to its files")
        tokenizer.pad_token = tokenizer.eos_token
    if model.config.get_text_config().pad_token_id is None:  # where decoders look for the last real token
        model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    known = set(inspect.signature(model.forward).parameters)
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    longest = longest_text(model, tokenizer, positions or _USUAL_LENGTH)

    def encode(data: TaskData, **options: Any) -> dict[str, Any]:
        pairs = None if data.pairs is None else list(data.pairs)
        with running(model):
            encoded = tokenizer(list(data.texts), pairs, truncation=True, max_length=longest, **options)
        return {name: value for name, value in encoded.items() if name in known}

    return encode


def _cut(order: Sequence[int], lengths: Sequence[int]) -> list[list[int]]:
    groups: list[list[int]] = []
    for place in order:  # the newest is the longest: it sets the width of its batch
        if not groups or (len(groups[-1]) + 1) * lengths[place] > _TOKENS:
            groups.append([])
        groups[-1].append(place)
    return groups


def _batch(rows: tuple[int, ...], inputs: dict[str, Any], asked: Question, tokenizer: Any) -> Batch:
    import torch

    if asked.kind == "classification":
        return Batch(rows, inputs, torch.tensor([asked.labels[row] for row in rows]))
    if asked.kind == "regression":
        return Batch(rows, inputs, torch.tensor([float(asked.labels[row]) for row in rows]))
    real = inputs["attention_mask"].bool()
    targets = inputs["input_ids"].masked_fill(~real, -100)
    batch = Batch(rows, inputs, targets)
    return batch if asked.kind == "causal-lm" else _masked(batch, tokenizer)


def _masked(batch: Batch, tokenizer: Any) -> Batch:
    """The same mask in every pass: it depends on the example's number alone."""
    import torch

    if tokenizer.mask_token_id is None:
        raise ModelError("the tokenizer has no mask token", advice="give the base model's tokenizer")
    special = torch.tensor(sorted(tokenizer.all_special_ids))
    ids = batch.inputs["input_ids"]
    free = (batch.targets != -100) & ~torch.isin(ids, special)
    chosen = torch.zeros_like(free)
    for place, row in enumerate(batch.rows):
        where = free[place].nonzero().flatten().tolist()
        count = min(len(where), max(1, round(_MASKED * len(where))))
        chosen[place, random.Random(_SEED * 1_000_003 + row).sample(where, count)] = True
    inputs = {**batch.inputs, "input_ids": ids.masked_fill(chosen, tokenizer.mask_token_id)}
    return replace(batch, inputs=inputs, targets=batch.targets.masked_fill(~chosen, -100))


def _check_vocabulary(found: Sequence[Batch], model: Any, tokenizer: Any) -> None:
    rows = model.get_input_embeddings().weight.shape[0]
    most = max(int(batch.inputs["input_ids"].max()) for batch in found)
    if most >= rows:
        raise ModelError(
            f"the tokenizer knows {len(tokenizer):,} tokens, the model {rows:,}",
            advice="give this model's own tokenizer",
        )
