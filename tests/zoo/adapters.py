"""Adapters that never trained, match nothing or lost parts, and merges that went wrong (K1, K2, K4, K5)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from zoo.beds import HEADS, Model, Run, State, is_bias, targets, trainer_state
from zoo.specimens import kind

RANK, ALPHA = 4, 8
_PREFIX = "base_model.model."


def lora_config(names: list[str], **more: Any) -> dict[str, Any]:
    """An adapter_config.json as peft writes it, for adapters on the modules of `names`."""
    modules = sorted({name.removesuffix(".weight").rpartition(".")[2] for name in names})
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": ALPHA,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": "c_attn" in modules,
        "target_modules": modules,
        "modules_to_save": None,
        "base_model_name_or_path": None,
        "inference_mode": True,
    } | more


def factors(state: State, names: list[str], *, size: float = 0.02) -> State:
    """A trained A and B for each named matrix, under peft's names."""
    random = torch.Generator().manual_seed(6)
    out: State = {}
    for name in names:
        rows, columns = state[name].shape
        inner, outer = (rows, columns) if "c_attn" in name else (columns, rows)  # Conv1D is transposed
        module = _PREFIX + name.removesuffix(".weight")
        out[f"{module}.lora_A.weight"] = torch.randn(RANK, inner, generator=random) / inner**0.5
        out[f"{module}.lora_B.weight"] = size * torch.randn(outer, RANK, generator=random)
    return out


def product(pieces: State, name: str) -> torch.Tensor:
    """The update scale·B·A of one matrix, in the shape in which the model stores it."""
    module = _PREFIX + name.removesuffix(".weight")
    update = ALPHA / RANK * pieces[f"{module}.lora_B.weight"] @ pieces[f"{module}.lora_A.weight"]
    return update.T if "c_attn" in name else update


def as_adapter(run: Run, **more: Any) -> State:
    """Make the tuned side a healthy LoRA adapter on queries and values; its tensors come back."""
    names = targets(run.base.state)
    pieces = factors(run.base.state, names)
    settings = lora_config(names, **more)
    run.tuned = Model(pieces, None, {"adapter_config.json": settings, "trainer_state.json": trainer_state()})
    return pieces


def merged(run: Run, strength: float = 1.0, *, size: float = 0.02) -> State:
    """Make the tuned side the base plus `strength` times an adapter that lies beside it."""
    names = targets(run.base.state)
    pieces = factors(run.base.state, names, size=size)
    run.tuned.state = {name: tensor.clone() for name, tensor in run.base.state.items()}
    for name in names:
        run.tuned.state[name] = run.base.state[name] + strength * product(pieces, name)
    run.tuned.after.append(lambda folder: lay_beside(folder, pieces, lora_config(names)))
    return pieces


def lay_beside(folder: Path, pieces: State, settings: dict[str, Any]) -> None:
    save_file(pieces, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    (folder / "adapter_config.json").write_text(json.dumps(settings))


@kind(1, "BP501", "adapter never trained", task="lm", containers=("adapter",))
def never_trained(run: Run) -> None:
    as_adapter(run)
    for name in run.tuned.names(end="lora_B.weight"):
        run.tuned.state[name].zero_()


@kind(2, "BP502", "empty adapter file", task="lm", containers=("adapter",), variants=("nothing", "half"))
def empty_adapter(run: Run, left: str) -> None:
    as_adapter(run)
    if left == "nothing":
        run.tuned.state = {}
    else:
        run.tuned.drop(lambda name: "lora_B" in name or ".1." in name)


@kind(
    4, "BP503", "bias setting overruled", task="lm", containers=("adapter",), beds=("bert", "roberta", "gpt2")
)
def bias_overruled(run: Run) -> None:
    """`bias: all`, yet the biases in the adapter are the base's."""
    as_adapter(run, bias="all")
    biases = {f"{_PREFIX}{name}": run.base.state[name].clone() for name in run.base.state if is_bias(name)}
    run.tuned.state |= biases


@kind(8, "BP504", "the merged folder is the base", task="lm", containers=("folder", "bin"))
def merged_is_base(run: Run) -> None:
    merged(run, 0.0)


@kind(14, "BP505", "trained tensors kept outside the adapter", task="lm", containers=("adapter",),
      variants=("sibling file", "promised"))  # fmt: skip
def outside_the_adapter(run: Run, how: str) -> None:
    as_adapter(run, modules_to_save=["embed_tokens", "wte", "word_embeddings"] if how == "promised" else None)
    if how == "sibling file":
        rest = {name: 1.01 * tensor for name, tensor in run.base.state.items() if tensor.ndim == 1}
        run.tuned.after.append(lambda folder: torch.save(rest, folder / "non_lora_trainables.bin"))


@kind(16, "BP401", "adapter for a classifier without its head", containers=("adapter",))
def adapter_without_head(run: Run) -> None:
    as_adapter(run, task_type="SEQ_CLS")


@kind(17, "BP402", "LoRA on a random head", containers=("adapter",))
def lora_on_head(run: Run) -> None:
    """The head was a target module: its own values, random anew at each start, were never saved."""
    pieces = as_adapter(run, task_type="SEQ_CLS")
    head = {"llama": "score", "gpt2": "score", "roberta": "classifier.out_proj"}.get(run.bed, "classifier")
    pieces[f"{_PREFIX}{head}.lora_A.weight"] = torch.randn(RANK, 32)
    pieces[f"{_PREFIX}{head}.lora_B.weight"] = 0.02 * torch.randn(3, RANK)
    settings = run.tuned.files["adapter_config.json"]
    settings["target_modules"] = [*settings["target_modules"], head.rpartition(".")[2]]


@kind(25, "BP506", "adapter paths match no module", task="lm", containers=("adapter",))
def paths_match_nothing(run: Run) -> None:
    as_adapter(run)
    run.tuned.rename(lambda name: name.replace(_PREFIX, f"{_PREFIX}language_model.inner."))


@kind(29, "BP507", "merged twice", task="lm", containers=("folder", "bin", "shards"))
def merged_twice(run: Run) -> None:
    merged(run, 2.0)


@kind(30, "BP508", "half-precision merge loss", task="lm")
def half_precision_merge(run: Run) -> None:
    """An update as small as bfloat16's steps, rounded away with the merge."""
    run.base.state = {name: tensor.bfloat16() for name, tensor in run.base.state.items()}
    names = targets(run.base.state)
    pieces = factors(run.base.state, names, size=0.0002)
    run.tuned.state = {name: tensor.clone() for name, tensor in run.base.state.items()}
    for name in names:
        run.tuned.state[name] = (run.base.state[name].float() + product(pieces, name)).bfloat16()
    run.tuned.after.append(lambda folder: lay_beside(folder, pieces, lora_config(names)))


@kind(31, "BP509", "4-bit merge erases the delta", task="lm")
def four_bit_merge(run: Run) -> None:
    """Base plus an update smaller than a step, on the 16 levels of a 4-bit grid a row."""
    pieces = merged(run, 0.0, size=0.0005)
    for name in targets(run.base.state):
        exact = run.base.state[name] + product(pieces, name)
        step = exact.abs().amax(dim=1, keepdim=True) / 7
        run.tuned.state[name] = (run.base.state[name] / step).round() * step


@kind(33, "BP510", "adapter nested on resume", task="lm", containers=("adapter",),
      variants=("base_layer.base_layer", "lora_A_1", "default_0", "reset"))  # fmt: skip
def nested_adapter(run: Run, how: str) -> None:
    as_adapter(run)
    if how == "reset":  # a long run whose last resume began with a new B
        run.tuned.files["trainer_state.json"] = trainer_state(steps=20000)
        for name in run.tuned.names(end="lora_B.weight"):
            run.tuned.state[name] *= 1e-6
        return
    changes = {
        "base_layer.base_layer": (".lora_", ".base_layer.base_layer.lora_"),
        "lora_A_1": (".weight", "_1.weight"),
        "default_0": (".weight", ".default_0.weight"),
    }
    run.tuned.rename(lambda name: name.replace(*changes[how]))


@kind(52, "BP511", "LoRA onto dead weights", task="lm", containers=("adapter",))
def dead_weights(run: Run) -> None:
    as_adapter(run)
    for name in targets(run.base.state):
        run.base.state[name] = torch.zeros_like(run.base.state[name])


@kind(32, "BP107", "adapter merged into another base", task="lm")
def other_base(run: Run) -> None:
    """The merge claims queries and values; every other matrix differs too."""
    merged(run)
    random = torch.Generator().manual_seed(12)
    for name, tensor in run.tuned.state.items():
        if tensor.ndim == 2 and not name.startswith(HEADS):
            run.tuned.state[name] = tensor + 0.002 * torch.randn(tensor.shape, generator=random)
