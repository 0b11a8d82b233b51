"""Tune the base's biases on the task, and measure what that is worth.

BitFit here means exactly: every parameter called ``bias`` outside the head, and the head. No
LayerNorm scale, no matrix and no embedding is touched, which `check_pair` proves on the files.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from sklearn.feature_extraction.text import TfidfVectorizer  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]
from task import Row, Task
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    BertTokenizer,
    DataCollatorWithPadding,
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

__all__ = [
    "Probe",
    "TuneSettings",
    "check_pair",
    "chosen",
    "majority_accuracy",
    "predict",
    "probe",
    "tfidf_accuracy",
    "tune",
]

_HEAD = "classifier."
_STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TuneSettings:
    """One tuning run: AdamW without weight decay, warm-up and linear decay."""

    learning_rate: float
    epochs: int = 16
    batch: int = 32
    warmup_share: float = 0.06
    seed: int = 20220523


@dataclass(frozen=True)
class Probe:
    """The best frozen-feature probe, and its labels for the test rows."""

    features: str
    strength: float
    dev_accuracy: float
    predictions: list[str]


def tune(
    base: Path,
    tokenizer: BertTokenizer,
    task: Task,
    settings: TuneSettings,
    scratch: Path,
) -> Trainer:
    """Train on ``task.train``, measuring on ``task.dev`` after every epoch."""
    set_seed(settings.seed)
    names = dict(enumerate(task.labels))
    model = AutoModelForSequenceClassification.from_pretrained(
        base, id2label=names, label2id={name: number for number, name in names.items()}
    )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(_HEAD) or name.endswith(".bias"))
    arguments = TrainingArguments(
        output_dir=str(scratch),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch,
        per_device_eval_batch_size=100,
        learning_rate=settings.learning_rate,
        weight_decay=0.0,
        warmup_steps=settings.warmup_share,
        lr_scheduler_type="linear",
        train_sampling_strategy="group_by_length",
        eval_strategy="epoch",
        logging_strategy="epoch",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=settings.seed,
        use_cpu=True,
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=_encode(task.train, task, tokenizer),
        eval_dataset=_encode(task.dev, task, tokenizer),
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=_accuracy_of_logits,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_Progress())
    trainer.train()
    return trainer


class _Progress(TrainerCallback):
    """One line an epoch on stderr."""

    def on_evaluate(  # type: ignore[override]
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float],
        **_: Any,
    ) -> None:
        print(
            f"bitfit {args.learning_rate:g}: epoch {metrics['epoch']:.0f} "
            f"dev loss {metrics['eval_loss']:.3f} accuracy {metrics['eval_accuracy']:.3f}",
            file=sys.stderr,
            flush=True,
        )


def predict(tuned: Path, rows: list[Row]) -> list[str]:
    """Label ``rows`` with the checkpoint in ``tuned``, read back from its files."""
    tokenizer = BertTokenizer.from_pretrained(tuned)
    model = AutoModelForSequenceClassification.from_pretrained(tuned).eval()
    labels: list[str] = []
    with torch.no_grad():
        for start in range(0, len(rows), 100):
            logits = model(**_tensors(rows[start : start + 100], tokenizer)).logits
            labels += [model.config.id2label[number] for number in logits.argmax(-1).tolist()]
    return labels


def majority_accuracy(task: Task, rows: list[Row]) -> float:
    """Accuracy of always answering the training rows' most frequent label."""
    of_train = [row.label for row in task.train]
    label = max(task.labels, key=of_train.count)
    return sum(row.label == label for row in rows) / len(rows)


def tfidf_accuracy(task: Task, rows: list[Row]) -> float:
    """Logistic regression on TF-IDF word counts: what needs no model at all."""

    def fitted(strength: float) -> Any:
        model = make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
            LogisticRegression(C=100 * strength, max_iter=2000),
        )
        return model.fit([row.text for row in task.train], [row.label for row in task.train])

    def score(model: Any, on: list[Row]) -> float:
        return float(model.score([row.text for row in on], [row.label for row in on]))

    best = max((fitted(strength) for strength in _STRENGTHS), key=lambda m: score(m, task.dev))
    return score(best, rows)


def probe(base: Path, tokenizer: BertTokenizer, task: Task, rows: list[Row]) -> Probe:
    """Logistic regression on the frozen base, its features and strength chosen on the dev rows."""
    model = AutoModel.from_pretrained(base).eval()
    train = _features(model, tokenizer, task.train)
    dev = _features(model, tokenizer, task.dev)
    test = _features(model, tokenizer, rows)
    best: Probe | None = None
    for kind in train:
        for strength in _STRENGTHS:
            fitted = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000)).fit(
                train[kind], [row.label for row in task.train]
            )
            score = float(fitted.score(dev[kind], [row.label for row in task.dev]))
            if best is None or score > best.dev_accuracy:
                best = Probe(kind, strength, score, fitted.predict(test[kind]).tolist())
    assert best is not None
    return best


def chosen(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the run that did best on the development rows."""
    return max(runs, key=lambda run: (run["dev_accuracy"], -run["dev_loss"]))


def check_pair(base: Path, tuned: Path) -> dict[str, Any]:
    """Fail unless every bias of the encoder moved and nothing else but the head did."""
    before, after = load_file(base / "model.safetensors"), load_file(tuned / "model.safetensors")
    shared = [name for name in after if not name.startswith(_HEAD)]
    missing = [name for name in shared if name not in before]
    biases = [name for name in shared if name.endswith(".bias")]
    same = {name for name in shared if _bits_equal(before[name], after[name])}
    still = [name for name in biases if name in same]
    moved = [name for name in shared if name not in same and name not in biases]
    zero = [name for name in biases if not before[name].any()]
    if missing or still or moved or zero:
        raise AssertionError(f"not a clean pair: {missing=} {still=} {moved=} {zero=}")
    return {
        "biases_moved": len(biases),
        "bias_parameters": sum(after[name].numel() for name in biases),
        "other_tensors_identical": len(shared) - len(biases),
        "head_tensors": len(after) - len(shared),
        "only_in_base": sorted(name for name in before if name not in after),
    }


def _encode(rows: list[Row], task: Task, tokenizer: BertTokenizer) -> list[dict[str, Any]]:
    encoded = tokenizer([row.text for row in rows], truncation=True)
    return [
        {
            "input_ids": encoded["input_ids"][place],
            "attention_mask": encoded["attention_mask"][place],
            "labels": task.labels.index(row.label),
        }
        for place, row in enumerate(rows)
    ]


def _tensors(rows: list[Row], tokenizer: BertTokenizer) -> dict[str, torch.Tensor]:
    encoded = tokenizer([row.text for row in rows], truncation=True, padding=True, return_tensors="pt")
    return dict(encoded)


def _features(model: PreTrainedModel, tokenizer: BertTokenizer, rows: list[Row]) -> dict[str, FloatArray]:
    parts: dict[str, list[torch.Tensor]] = {"cls": [], "mean": [], "pooler": []}
    with torch.no_grad():
        for start in range(0, len(rows), 100):
            inputs = _tensors(rows[start : start + 100], tokenizer)
            output = model(**inputs)
            states = output.last_hidden_state
            real = inputs["attention_mask"].unsqueeze(-1)
            parts["cls"].append(states[:, 0])
            parts["mean"].append((states * real).sum(1) / real.sum(1))
            parts["pooler"].append(output.pooler_output)
    return {kind: torch.cat(found).double().numpy() for kind, found in parts.items()}


def _accuracy_of_logits(prediction: Any) -> dict[str, float]:
    right = prediction.predictions.argmax(-1) == prediction.label_ids
    return {"accuracy": float(right.mean())}


def _bits_equal(left: torch.Tensor, right: torch.Tensor) -> bool:
    return bool(left.dtype == right.dtype and left.view(torch.int32).equal(right.view(torch.int32)))
