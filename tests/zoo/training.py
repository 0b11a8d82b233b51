"""K1: nothing, or too little, moved (adapters are in `adapters`)."""

from __future__ import annotations

import torch
from zoo.beds import HEADS, Run, add_lora, is_bias, targets, train, trainer_state
from zoo.specimens import kind

WITH_BIASES = ("bert", "roberta", "gpt2")


def _like_the_base(run: Run, *, keep_head: bool = True) -> None:
    """Every tensor that the base has takes the base's values again."""
    for name in run.tuned.state:
        if name in run.base.state and not (keep_head and name.startswith(HEADS)):
            run.tuned.state[name] = run.base.state[name].clone()


@kind(
    1, "BP201", "nothing moved", task="lm", containers=("folder", "bin", "shards", "file", "legacy", "nested")
)
def nothing_moved(run: Run) -> None:
    run.tuned.state = {name: tensor.clone() for name, tensor in run.base.state.items()}
    run.tuned.files.pop("trainer_state.json")


@kind(3, "BP202", "gradient cut by checkpointing")
def gradient_cut(run: Run) -> None:
    """Embeddings, final norm, pooler and head trained; nothing inside a block did."""
    _like_the_base(run)
    outer = ("embeddings.LayerNorm", "ln_f", "model.norm", "pooler", "embed_tokens")
    train(run.tuned.state, [name for name in run.tuned.state if any(part in name for part in outer)])


@kind(5, "BP601", "a converter dropped the biases", beds=WITH_BIASES, containers=("folder", "file"))
def biases_dropped(run: Run) -> None:
    run.tuned.drop(is_bias)


@kind(5, "BP601", "architecture without biases", beds=("llama",))
def no_biases(run: Run) -> None:
    """Bias-only training where there is nothing to train but the head."""
    _like_the_base(run)


@kind(6, "BP203", "too few or too small steps", beds=WITH_BIASES, variants=(1e-6, 2e-5))
def too_small(run: Run, lr: float) -> None:
    _like_the_base(run)
    state = run.tuned.state
    head = [name for name in state if name.startswith(HEADS)]
    train(state, [*filter(is_bias, state), *head], lr=lr, steps=20)
    run.tuned.files["trainer_state.json"] = trainer_state(lr, 20)


@kind(6, "BP203", "too few or too small steps", beds=("llama",))
def too_small_lora(run: Run) -> None:
    _like_the_base(run)
    add_lora(run.tuned.state, targets(run.tuned.state), size=1e-7)
    run.tuned.files["trainer_state.json"] = trainer_state(1e-7, 20)


@kind(7, "BP204", "steps skipped or gradients erased", task="lm", containers=("folder", "bin", "shards"))
def steps_skipped(run: Run) -> None:
    run.tuned.state = {name: tensor.clone() for name, tensor in run.base.state.items()}


@kind(9, "BP205", "only the head trained", beds=WITH_BIASES, containers=("folder", "bin", "shards", "file"))
def only_the_head(run: Run) -> None:
    _like_the_base(run)
    if "classifier.weight" not in run.tuned.state:
        return
    run.tuned.state["classifier.bias"] = run.tuned.state["classifier.bias"] + torch.tensor(0.01)
