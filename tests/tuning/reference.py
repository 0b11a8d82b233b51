"""An independent fine-tuning loop in plain torch, to hold `tune` against. It shares no code with it.

No Trainer, no peft, no bitfit_probe: random batches, AdamW, a rate that rises and falls by hand, and LoRA as
the four lines of its paper (Hu et al. 2022, eq. 3).
"""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer

__all__ = ["accuracy", "train"]


class LowRank(nn.Module):
    """W x + b + (α/r)·B A x with A Gaussian-like and B zero."""

    def __init__(self, frozen: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.frozen = frozen
        self.down = nn.Parameter(torch.empty(rank, frozen.in_features))
        self.up = nn.Parameter(torch.zeros(frozen.out_features, rank))
        self.scale = alpha / rank
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.frozen(x) + self.scale * (x @ self.down.T @ self.up.T)


def _prepare(model: nn.Module, method: str, head: str, rank: int) -> None:
    for name, parameter in model.named_parameters():
        is_head = name.startswith(head)
        parameter.requires_grad = (
            method == "full" or is_head or (method == "bitfit" and name.endswith(".bias"))
        )
    if method != "lora":
        return
    for path, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and not path.startswith(head):
            owner, _, leaf = path.rpartition(".")
            setattr(model.get_submodule(owner), leaf, LowRank(module, rank, 2 * rank))


def train(
    base: Path,
    texts: list[str],
    labels: list[int],
    *,
    method: str,
    rate: float,
    epochs: int,
    batch_size: int = 32,
    max_length: int = 64,
    warmup_ratio: float = 0.06,
    lora_r: int = 8,
    head: str = "classifier.",
    seed: int = 0,
) -> tuple[Any, Any]:
    """Train a classifier; gives the model and its tokenizer."""
    torch.manual_seed(seed)
    order = random.Random(seed)
    tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
    model = AutoModelForSequenceClassification.from_pretrained(
        base, num_labels=max(labels) + 1, local_files_only=True
    ).float()
    _prepare(model, method, head, lora_r)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=rate, weight_decay=0.0)
    steps = epochs * math.ceil(len(texts) / batch_size)
    rising = round(warmup_ratio * steps)
    step = 0
    model.train()
    for _ in range(epochs):
        numbers = list(range(len(texts)))
        order.shuffle(numbers)
        for start in range(0, len(numbers), batch_size):
            now = numbers[start : start + batch_size]
            share = step / rising if step < rising else (steps - step) / max(1, steps - rising)
            for group in optimizer.param_groups:
                group["lr"] = rate * share
            tokens = tokenizer(
                [texts[i] for i in now],
                padding=True,
                truncation=True,
                max_length=max_length,
                return_tensors="pt",
            )
            logits = model(**tokens).logits
            loss = nn.functional.cross_entropy(logits, torch.tensor([labels[i] for i in now]))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            step += 1
    return model.eval(), tokenizer


def accuracy(model: Any, tokenizer: Any, texts: list[str], labels: list[int], max_length: int = 64) -> float:
    """Share of `texts` that `model` labels rightly."""
    right = 0
    with torch.no_grad():
        for start in range(0, len(texts), 64):
            tokens = tokenizer(
                texts[start : start + 64],
                padding=True,
                truncation=True,
                max_length=max_length,
                return_tensors="pt",
            )
            said = model(**tokens).logits.argmax(-1)
            right += int((said == torch.tensor(labels[start : start + 64])).sum())
    return right / len(texts)
