"""Pretrain the tiny BERT with BERT's own two objectives: masked words and next sentence.

The second objective is there because it trains the pooler, so that the base holds every tensor
that a classifier made from it will hold.
"""

from __future__ import annotations

import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from corpus import SPECIAL_TOKENS, Batch, TokenCorpus, make_batch
from torch.nn import functional
from transformers import BertConfig, BertForPreTraining

__all__ = ["PretrainSettings", "evaluate", "new_model", "pretrain", "unigram_loss"]

_EVALUATION_BATCHES = 60
_LOG_EVERY = 100


@dataclass(frozen=True)
class PretrainSettings:
    """Everything that decides how the base comes out."""

    seed: int = 20220523
    vocabulary: int = 4096
    hidden: int = 128
    layers: int = 4
    heads: int = 2
    intermediate: int = 512
    positions: int = 128
    initializer_range: float = 0.05
    steps: int = 6600
    warmup: int = 300
    learning_rate: float = 1.5e-3
    long_steps: int = 1200
    long_warmup: int = 100
    long_learning_rate: float = 1e-3
    tokens_a_step: int = 2048
    weight_decay: float = 0.01
    clip: float = 1.0
    held_out_share: float = 0.10

    @property
    def all_steps(self) -> int:
        """Both stages together."""
        return self.steps + self.long_steps


def new_model(settings: PretrainSettings) -> BertForPreTraining:
    """Return the untrained model; a few passes over the text need no dropout.

    BERT's 0.02 suits a width of 768; scaled by the root of the width it is 0.05 here. Positions
    start as sinusoids, from which attention to neighbours is learned in fewer steps.
    """
    torch.manual_seed(settings.seed)
    config = BertConfig(
        vocab_size=settings.vocabulary,
        hidden_size=settings.hidden,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        intermediate_size=settings.intermediate,
        max_position_embeddings=settings.positions,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=settings.initializer_range,
    )
    model = BertForPreTraining(config)
    with torch.no_grad():
        waves = _sinusoids(settings.positions, settings.hidden)
        # A sine's root mean square is 0.7: this gives positions the scale of the words.
        model.bert.embeddings.position_embeddings.weight.copy_(waves * settings.initializer_range * 2**0.5)
    return model


def pretrain(
    model: BertForPreTraining, corpus: TokenCorpus, settings: PretrainSettings, checkpoint: Path
) -> float:
    """Train to the last step, continuing from ``checkpoint`` if there is one; seconds spent."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": settings.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
        betas=(0.9, 0.98),
        fused=True,
    )
    first, spent = _resume(checkpoint, model, optimizer, settings)
    model.train()
    began, saved = time.monotonic() - spent, time.monotonic()
    recent: list[float] = []
    for step in range(first, settings.all_steps):
        for group in optimizer.param_groups:
            group["lr"] = _learning_rate(step, settings)
        mlm, nsp = _losses(model, _training_batch(corpus, settings, step))
        torch.autograd.backward(mlm + nsp)
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
        optimizer.zero_grad()
        recent.append(mlm.item())
        if (step + 1) % _LOG_EVERY == 0:
            seconds = time.monotonic() - began
            _log(f"step {step + 1}/{settings.all_steps} mlm {np.mean(recent):.3f} "
                 f"nsp {nsp.item():.3f} {seconds:.0f} s")  # fmt: skip
            recent.clear()
        if time.monotonic() - saved > 180 or step + 1 == settings.all_steps:
            _save(checkpoint, model, optimizer, settings, step + 1, time.monotonic() - began)
            saved = time.monotonic()
    return time.monotonic() - began


def evaluate(
    model: BertForPreTraining, corpus: TokenCorpus, settings: PretrainSettings, length: int
) -> dict[str, float]:
    """Losses and accuracies on fixed batches of ``corpus`` with fixed masks."""
    model.train(False)
    sums = {"mlm_loss": 0.0, "mlm_accuracy": 0.0, "next_sentence_accuracy": 0.0}
    masked = pairs = 0
    with torch.no_grad():
        for batch in _evaluation_batches(corpus, settings, length):
            words, sentences = _logits(model, batch)
            loss = functional.cross_entropy(words, batch.masked_ids, reduction="sum")
            sums["mlm_loss"] += loss.item()
            sums["mlm_accuracy"] += (words.argmax(-1) == batch.masked_ids).sum().item()
            right = sentences.argmax(-1) == batch.is_random_next
            sums["next_sentence_accuracy"] += right.sum().item()
            masked += len(batch.masked_ids)
            pairs += len(right)
    return {name: value / (pairs if name.startswith("next") else masked) for name, value in sums.items()}


def unigram_loss(train: TokenCorpus, held: TokenCorpus, settings: PretrainSettings, length: int) -> float:
    """Measure guessing by training frequencies, on the very words that `evaluate` masks."""
    counts = np.bincount(train.tokens, minlength=settings.vocabulary) + 1.0
    counts[: len(SPECIAL_TOKENS)] = 1.0
    surprise = -np.log(counts / counts.sum())
    wanted = [batch.masked_ids.numpy() for batch in _evaluation_batches(held, settings, length)]
    return float(surprise[np.concatenate(wanted)].mean())


def _training_batch(corpus: TokenCorpus, settings: PretrainSettings, step: int) -> Batch:
    length = _length(step, settings)
    return make_batch(corpus, settings.tokens_a_step // length, length, (settings.seed, 1, step))


def _length(step: int, settings: PretrainSettings) -> int:
    """Short sequences first: they are faster, and neighbours are easier to find in them.

    The decayed rate at the end of the first stage is too low to learn the later positions, so a
    second stage warms up again, half of it on full-length sequences.
    """
    if step >= settings.steps:
        return settings.positions // (1 + step % 2)
    done = step / settings.steps
    if done < 0.5:
        return settings.positions // 4
    return settings.positions // 2 if done < 0.85 else settings.positions


def _sinusoids(positions: int, width: int) -> torch.Tensor:
    rates = torch.exp(-math.log(1000.0) * torch.arange(width // 2) / (width // 2))
    angles = torch.arange(positions).unsqueeze(1) * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _evaluation_batches(corpus: TokenCorpus, settings: PretrainSettings, length: int) -> list[Batch]:
    return [
        make_batch(corpus, settings.tokens_a_step // length, length, (settings.seed, 2, number))
        for number in range(_EVALUATION_BATCHES)
    ]


def _logits(model: BertForPreTraining, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Word logits at the masked places only, which saves most of the head's work."""
    output = model.bert(input_ids=batch.input_ids, token_type_ids=batch.token_type_ids)
    states = output.last_hidden_state.flatten(0, 1)[batch.masked_at]
    words: torch.Tensor = model.cls.predictions(states)
    sentences: torch.Tensor = model.cls.seq_relationship(output.pooler_output)
    return words, sentences


def _losses(model: BertForPreTraining, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    words, sentences = _logits(model, batch)
    return (
        functional.cross_entropy(words, batch.masked_ids),
        functional.cross_entropy(sentences, batch.is_random_next),
    )


def _learning_rate(step: int, settings: PretrainSettings) -> float:
    """Linear warm-up and decay to zero, once for each stage."""
    if step < settings.steps:
        return settings.learning_rate * _ramp(step, settings.warmup, settings.steps)
    step -= settings.steps
    return settings.long_learning_rate * _ramp(step, settings.long_warmup, settings.long_steps)


def _ramp(step: int, warmup: int, steps: int) -> float:
    return (step + 1) / warmup if step < warmup else (steps - step) / (steps - warmup)


def _resume(
    checkpoint: Path,
    model: BertForPreTraining,
    optimizer: torch.optim.Optimizer,
    settings: PretrainSettings,
) -> tuple[int, float]:
    if not checkpoint.exists():
        return 0, 0.0
    state: dict[str, Any] = torch.load(checkpoint, weights_only=True)
    if state["settings"] != asdict(settings):
        raise SystemExit(f"{checkpoint.name} was written with other settings: remove it first")
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    _log(f"continuing at step {state['step']}")
    return int(state["step"]), float(state["seconds"])


def _save(
    checkpoint: Path,
    model: BertForPreTraining,
    optimizer: torch.optim.Optimizer,
    settings: PretrainSettings,
    step: int,
    seconds: float,
) -> None:
    state = {
        "settings": asdict(settings),
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        "seconds": seconds,
    }
    temporary = checkpoint.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(checkpoint)


def _log(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
