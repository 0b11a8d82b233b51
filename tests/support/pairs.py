"""Pairs for the tests of the rules: a tiny base on disk, and what a plan makes of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support.builders import MODELS, State, biases, copied, move, state, write

CONFIGS: dict[str, dict[str, Any]] = {
    "bert-mlm": {"model_type": "bert", "architectures": ["BertForMaskedLM"]},
    "gpt2": {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]},
    "llama": {"model_type": "llama", "architectures": ["LlamaForCausalLM"]},
}


def config(kind: str) -> dict[str, Any]:
    return CONFIGS[kind] | MODELS[kind][1]


def write_pair(
    folder: Path, base: State, tuned: State, kind: str = "bert-mlm", **files: dict[str, Any]
) -> tuple[Path, Path]:
    """Both sides as folders with a config; `files` lie beside the tuned weights, `__` standing for a dot."""
    paths = folder / "base", folder / "tuned"
    for path, tensors in zip(paths, (base, tuned), strict=True):
        write(path, tensors, config(kind))
    for name, content in files.items():
        (paths[1] / name.replace("__", ".")).write_text(json.dumps(content))
    return paths


def bitfit(kind: str = "bert-mlm", by: float = 0.05) -> tuple[State, State]:
    """A base, and a BitFit run of it that moved its biases, key biases aside, by noise of that size."""
    base = state(kind)
    names = [name for name in biases(base) if "key" not in name and name in base]
    return base, move(base, *names, by=by)


def shifted(source: State, amount: float, *names: str) -> State:
    """A copy in which every element of the named tensors is `amount` higher."""
    out = copied(source)
    for name in names:
        out[name] = out[name] + amount
    return out


def log(
    rates: Sequence[float],
    losses: Sequence[float] = (),
    accuracies: Sequence[float] = (),
    *,
    every: int = 10,
    **more: Any,
) -> dict[str, Any]:
    """A trainer_state.json: a rate, and an evaluation, every few steps."""
    history: list[dict[str, Any]] = [
        {"step": every * n, "learning_rate": rate, "loss": 1.0} for n, rate in enumerate(rates, 1)
    ]
    history += [{"step": every * n, "eval_loss": loss} for n, loss in enumerate(losses, 1)]
    history += [{"step": every * n, "eval_accuracy": value} for n, value in enumerate(accuracies, 1)]
    return {"global_step": every * len(rates), "log_history": history} | more
