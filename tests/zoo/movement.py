"""K2: the wrong things moved."""

from __future__ import annotations

import torch
from zoo.beds import HEADS, KEY_BIASES, Run, is_bias, train
from zoo.specimens import kind
from zoo.training import WITH_BIASES

#: What our own `tune` and others write beside a run that says which method it was.
DECLARED = {"method": "bitfit"}


@kind(10, "BP301", "freeze had no effect", beds=WITH_BIASES, containers=("folder", "shards"))
def freeze_had_no_effect(run: Run) -> None:
    """Biases and every matrix moved by the same steps, though the run calls itself bias-only."""
    state = run.tuned.state
    train(state, [name for name in state if not is_bias(name) and not name.startswith(HEADS)])
    run.tuned.files["run.json"] = DECLARED


@kind(11, "BP302", "norm scales trained as well", beds=WITH_BIASES, variants=("scales too", "norms left out"))
def norms(run: Run, which: str) -> None:
    state = run.tuned.state
    norm = [n for n in state if "LayerNorm." in n or ".ln_" in n]
    if which == "scales too":
        train(state, [name for name in norm if name.endswith("weight")])
        return
    for name in norm:
        state[name] = run.base.state[name].clone()


@kind(12, "BP303", "decay hits norms and biases", beds=WITH_BIASES)
def decay(run: Run) -> None:
    """All norms and biases lost a fifth; every matrix trained without decay."""
    state = run.tuned.state
    for name in state:
        if name in run.base.state and state[name].ndim == 1:
            state[name] = 0.8 * run.base.state[name]
    train(state, [name for name in state if name in run.base.state], lr=2e-5)


@kind(13, "BP304", "BatchNorm statistics drift", containers=("folder", "file"))
def batch_norm(run: Run) -> None:
    """A frozen BatchNorm beside the body went on counting."""
    random = torch.Generator().manual_seed(1)
    statistics = {
        "visual.bn.weight": torch.ones(16),
        "visual.bn.bias": torch.zeros(16),
        "visual.bn.running_mean": torch.randn(16, generator=random),
        "visual.bn.running_var": torch.rand(16, generator=random) + 0.5,
        "visual.bn.num_batches_tracked": torch.tensor(1000),
    }
    run.base.state |= statistics
    run.tuned.state |= {name: tensor.clone() for name, tensor in statistics.items()}
    run.tuned.state["visual.bn.running_mean"] += 0.3
    run.tuned.state["visual.bn.running_var"] *= 1.4
    run.tuned.state["visual.bn.num_batches_tracked"] += 700


@kind(15, "BP305", "key-bias movement is noise", beds=("bert", "roberta"))
def key_bias_noise(run: Run) -> None:
    """bf16 autocast turns the key bias's vanishing gradient into steps a fifth as long as the others'."""
    random = torch.Generator().manual_seed(4)
    for name in run.tuned.names(end=KEY_BIASES[0]):
        tensor = run.tuned.state[name]
        run.tuned.state[name] = run.base.state[name] + 0.007 * torch.randn(tensor.shape, generator=random)
