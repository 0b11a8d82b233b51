"""From examples to what a model eats: the split, the tokens, the batches and the marks it gets."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bitfit_probe.data import TaskData
from bitfit_probe.errors import DataError
from bitfit_probe.inference.encoding import tokens_of
from bitfit_probe.tuning.options import Objective

__all__ = ["Encoded", "balanced_weights", "collator", "encode", "metrics", "split"]


@dataclass(frozen=True)
class Encoded:
    """Tokenised examples, and how many were cut at the maximum length."""

    rows: list[dict[str, Any]]
    cut: int


def split(data: TaskData, share: float, seed: int) -> tuple[TaskData, TaskData | None]:
    """Training and held-out examples, every class in its proportion.

    Raises
    ------
    DataError
        There are too few examples to hold any out.
    """
    if not share:
        return data, None
    groups: defaultdict[Any, list[int]] = defaultdict(list)
    classes = data.labels if data.task == "classification" and data.labels else [0] * len(data)
    for number, label in enumerate(classes):
        groups[label].append(number)
    shuffle = random.Random(seed)
    held: list[int] = []
    for members in groups.values():
        shuffle.shuffle(members)
        held += members[: round(share * len(members))]
    if not held or len(held) == len(data):
        raise DataError(
            f"{len(data)} examples are too few to hold out {share:.0%}",
            advice="give more, or use --eval-split 0",
            path=data.path or None,
        )
    rest = sorted(set(range(len(data))) - set(held))
    return data.take(rest), data.take(sorted(held))


def encode(data: TaskData, tokenizer: Any, objective: Objective, max_length: int) -> Encoded:
    """Tokenise without padding; batches are padded to their own longest example."""
    tokens = tokens_of(data, tokenizer, max_length)
    kept = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in tokens]
    rows: list[dict[str, Any]] = [{name: tokens[name][i] for name in kept} for i in range(len(data))]
    if objective in ("classify", "regress"):
        assert data.labels is not None
        for row, label in zip(rows, data.labels, strict=True):
            row["labels"] = label
    full = tokens_of(data, tokenizer, None)["input_ids"]
    return Encoded(rows, sum(len(ids) > max_length for ids in full))


def collator(tokenizer: Any, objective: Objective) -> Any:
    """What makes a padded batch of rows."""
    import transformers

    if objective in ("classify", "regress"):
        return transformers.DataCollatorWithPadding(tokenizer)
    return transformers.DataCollatorForLanguageModeling(tokenizer, mlm=objective == "masked-lm")


def balanced_weights(labels: Sequence[int] | Sequence[float], classes: int) -> list[float]:
    """N / (classes · count) for each class, the weights under which every class counts the same.

    >>> balanced_weights([0, 0, 0, 1], 2)
    [0.6666666666666666, 2.0]
    """
    counts = Counter(int(label) for label in labels)
    return [len(labels) / (classes * counts[label]) if counts[label] else 0.0 for label in range(classes)]


def metrics(objective: Objective) -> Any:
    """The function that Trainer calls with predictions and labels; None where the loss says it all."""
    return {"classify": _classification, "regress": _regression}.get(objective)


def _classification(prediction: Any) -> dict[str, float]:
    """Accuracy, and F1 averaged over the classes that occur in either."""
    said, true = prediction.predictions.argmax(-1), prediction.label_ids
    scores = []
    for label in np.union1d(said, true):
        hits = np.sum((said == label) & (true == label))
        scores.append(2 * hits / (np.sum(said == label) + np.sum(true == label)))
    return {"accuracy": float(np.mean(said == true)), "macro_f1": float(np.mean(scores))}


def _regression(prediction: Any) -> dict[str, float]:
    """Root mean squared error and Pearson's r (0 where either side is constant)."""
    said = np.asarray(prediction.predictions, np.float64).reshape(-1)
    true = np.asarray(prediction.label_ids, np.float64).reshape(-1)
    spread = float(said.std() * true.std())
    covariance = float(np.mean((said - said.mean()) * (true - true.mean())))
    return {
        "rmse": float(np.sqrt(np.mean((said - true) ** 2))),
        "pearson": covariance / spread if spread else 0.0,
    }
