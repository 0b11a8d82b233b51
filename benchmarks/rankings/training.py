"""BitFit by a plain loop: AdamW on every bias and the head, warm-up and linear decay."""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging

from benchmarks.rankings.tasks import Task

_HEAD = "classifier."


@dataclass(frozen=True)
class Settings:
    """One run."""

    seed: int
    learning_rate: float = 5e-3
    examples: int = 1200
    epochs: int = 6
    batch: int = 32
    warmup_share: float = 0.06
    longest: int = 64


def tuned(base: Path, task: Task, settings: Settings, folder: Path) -> Path:
    """The checkpoint of this run in `folder`: the finished one, or a new one."""
    if (folder / "run.json").exists() and json.loads((folder / "run.json").read_text())["settings"] == asdict(
        settings
    ):
        return folder
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    start = time.monotonic()
    torch.manual_seed(settings.seed)
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = _prepared(base, task.labels)
    losses = _train(model, tokenizer, task, settings)
    accuracy = _accuracy(model, tokenizer, task, settings)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    run = {"settings": asdict(settings), "losses": losses, "accuracy": accuracy}
    (partial / "run.json").write_text(json.dumps(run) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    print(
        f"{folder.name}: accuracy {accuracy:.3f}, {time.monotonic() - start:.0f} s",
        file=sys.stderr,
        flush=True,
    )
    return folder


def _prepared(base: Path, labels: list[str]) -> Any:
    names = dict(enumerate(labels))
    model = AutoModelForSequenceClassification.from_pretrained(
        base, id2label=names, label2id={name: number for number, name in names.items()}
    )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(_HEAD) or name.endswith(".bias"))
    return model


def _train(model: Any, tokenizer: Any, task: Task, settings: Settings) -> list[float]:
    """Mean training loss by epoch."""
    rows = task.drawn(settings.examples, settings.seed)
    steps = math.ceil(len(rows) / settings.batch) * settings.epochs
    warmup = max(1, round(steps * settings.warmup_share))
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], settings.learning_rate, weight_decay=0.0
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, (steps - step) / max(1, steps - warmup))
    )
    model.train()
    losses = []
    for _ in range(settings.epochs):
        order = [rows[place] for place in torch.randperm(len(rows)).tolist()]
        total = 0.0
        for start in range(0, len(order), settings.batch):
            batch = order[start : start + settings.batch]
            inputs = _encode(tokenizer, [task.train[row] for row in batch], settings.longest)
            labels = torch.tensor([task.labels.index(task.train_labels[row]) for row in batch])
            loss = model(**inputs, labels=labels).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
        losses.append(total / len(order))
        print(f"  epoch {len(losses)}: training loss {losses[-1]:.3f}", file=sys.stderr, flush=True)
    return losses


@torch.no_grad()
def _accuracy(model: Any, tokenizer: Any, task: Task, settings: Settings) -> float:
    model.eval()
    right = 0
    for start in range(0, len(task.test), 100):
        logits = model(**_encode(tokenizer, task.test[start : start + 100], settings.longest)).logits
        predicted = [task.labels[number] for number in logits.argmax(-1).tolist()]
        right += sum(p == q for p, q in zip(predicted, task.test_labels[start:], strict=False))
    return right / len(task.test)


def _encode(tokenizer: Any, texts: list[tuple[str, ...]], longest: int) -> Any:
    pairs = [text[1] for text in texts] if len(texts[0]) > 1 else None
    return tokenizer(
        [text[0] for text in texts],
        pairs,
        truncation=True,
        max_length=longest,
        padding=True,
        return_tensors="pt",
    )
