"""K8, and which of several sets of weights: numbers, over-training, best, last and average."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import save_file
from zoo.beds import LABELS, Model, Run, is_bias, train
from zoo.specimens import kind
from zoo.training import WITH_BIASES


@kind(44, "BP206", "last weights stand where the best were meant", containers=("folder", "bin"))
def last_not_best(run: Run) -> None:
    """The root equals checkpoint-100, the trainer's best is checkpoint-50."""
    state = run.tuned.files["trainer_state.json"]
    state |= {"best_model_checkpoint": "out/checkpoint-50", "best_metric": 0.31, "best_global_step": 50}
    last = {name: tensor.clone() for name, tensor in run.tuned.state.items()}
    better = dict(last)
    train(better, [name for name in better if name.endswith("bias")] or list(better), lr=2e-3, seed=9)

    def add(folder: Path) -> None:
        for step, weights in ((50, better), (100, last)):
            inner = folder / f"checkpoint-{step}"
            inner.mkdir()
            save_file(weights, inner / "model.safetensors", metadata={"format": "pt"})
            (inner / "trainer_state.json").write_text(json.dumps(state | {"global_step": step}))

    run.tuned.after.append(add)


@kind(45, "BP207", "average beside the live weights", task="lm")
def average_beside_live(run: Run) -> None:
    """A file with both; the average has gone 4 % of the way."""
    base, live = run.base.state, run.tuned.state
    average = {name: base[name] + 0.04 * (live[name] - base[name]) for name in live}

    def add(folder: Path) -> Path:
        (folder / "model.safetensors").unlink()
        both = {"model": OrderedDict(live), "ema": OrderedDict(average)}
        torch.save(both, folder / "last.ckpt")
        return folder / "last.ckpt"

    run.tuned.after.append(add)


@kind(
    46, "BP306", "NaN or Inf", containers=("folder", "bin", "shards", "file"), variants=("nan", "inf", "bias")
)
def not_finite(run: Run, what: str) -> None:
    names = [n for n in run.tuned.state if n in run.base.state and (".1." in n)]
    chosen = [n for n in names if n.endswith("bias" if what == "bias" else "weight")] or names
    run.tuned.state[chosen[0]].view(-1)[:5] = float("inf") if what == "inf" else float("nan")


@kind(47, "BP307", "beyond float16", variants=("large", "overflowed"))
def overflow(run: Run, what: str) -> None:
    """A weight that float16 can't hold, or one that it already turned to Inf."""
    names = [
        n for n in run.tuned.state if n in run.base.state and run.tuned.state[n].ndim == 2 and ".1." in n
    ]
    run.tuned.state[names[0]].view(-1)[:3] = 1e5
    if what == "overflowed":
        run.tuned.state = {name: tensor.half() for name, tensor in run.tuned.state.items()}


@kind(48, "BP308", "class collapse", beds=WITH_BIASES)
def collapse(run: Run) -> None:
    """A rate of 0.1 on everything but the embeddings: norm scales turn negative, matrices are swamped."""
    state = run.tuned.state
    train(state, [name for name in state if "embeddings.word" not in name and "wte" not in name], lr=0.1)


@kind(49, "BP602", "forgetting", beds=("bert", "roberta", "gpt2"), task="lm")
def forgetting(run: Run) -> None:
    """Every tensor moved far from the base."""
    state = run.tuned.state
    train(state, list(state), lr=8e-3)
    text = "the man was in the house and it is on the way"
    rows = [f"{text},{LABELS[n % 3]}" for n in range(12)]
    run.data = "text,label\n" + "\n".join(rows) + "\n"


@kind(50, "BP112", "loader changed the weights", task="lm")
def loader_changed(run: Run) -> None:
    """What the running model dumped differs from the file in tensors that loaders build anew."""
    live = Model(dict(run.tuned.state), run.tuned.config)
    for name in [n for n in live.state if "norm" in n.lower() or ".ln_" in n][:2]:
        live.state[name] = torch.ones_like(live.state[name]) * 3
    run.others.append(live)


@kind(51, "BP113", "ranks diverged", task="lm")
def ranks_diverged(run: Run) -> None:
    """Two ranks of one job at the same step with different weights."""
    state = {name: tensor.clone() for name, tensor in run.tuned.state.items()}
    train(state, [name for name in state if is_bias(name)] or list(state), seed=77)
    run.others.append(Model(state, run.tuned.config, dict(run.tuned.files)))
    run.tuned.after.append(lambda folder: _renamed(folder, 0))
    run.others[0].after.append(lambda folder: _renamed(folder, 1))


def _renamed(folder: Path, rank: int) -> Path:
    target = folder / f"model_rank{rank}.safetensors"
    (folder / "model.safetensors").rename(target)
    return target
