"""K4: names and layouts."""

from __future__ import annotations

import re
from typing import Any

import torch
from zoo.beds import EVERY, HEADS, Run
from zoo.specimens import kind

ANY = ("folder", "bin", "shards", "file", "legacy", "nested")


_WRAPPERS = ("module.", "_orig_mod.", "_orig_module.", "module._orig_mod.", "_fsdp_wrapped_module.")


@kind(22, "BP101", "wrapper prefixes", beds=EVERY, containers=ANY, variants=_WRAPPERS)
def wrapped(run: Run, prefix: str) -> None:
    run.tuned.rename(lambda name: prefix + name)


@kind(22, "BP101", "wrapper prefixes inside", variants=("_orig_mod", "_checkpoint_wrapped_module"))
def wrapped_inside(run: Run, wrapper: str) -> None:
    """Each block was compiled or checkpointed by itself."""
    run.tuned.rename(lambda name: re.sub(r"(\.\d+)\.", rf"\1.{wrapper}.", name))


@kind(23, "BP102", "trainer prefix", containers=ANY, variants=("net.", "base_model.model.", "student.net."))
def trainer_prefix(run: Run, prefix: str) -> None:
    run.tuned.rename(lambda name: prefix + name)


@kind(23, "BP102", "backbone under another name", variants=("encoder_q.", "model.backbone."))
def backbone_prefix(run: Run, prefix: str) -> None:
    run.tuned.rename(lambda name: prefix + name.removeprefix(run.body) if name.startswith(run.body) else name)


def _is_norm(name: str) -> bool:
    return any(part in name.rpartition(".")[0].rpartition(".")[2].lower() for part in ("norm", "ln_"))


@kind(24, "BP103", "gamma and beta", beds=EVERY, containers=("folder", "bin", "file"))
def gamma_beta(run: Run) -> None:
    old = {"weight": "gamma", "bias": "beta"}

    def rename(name: str) -> str:
        module, _, leaf = name.rpartition(".")
        return f"{module}.{old[leaf]}" if _is_norm(name) else name

    run.tuned.rename(rename)


def _first_matrix(run: Run) -> str:
    """A matrix of the second block that both sides have."""
    ends = ("intermediate.dense.weight", "c_fc.weight", "up_proj.weight")
    return next(name for name in run.base.state if ".1." in name and name.endswith(ends))


@kind(26, "BP104", "weight_norm renamed", variants=("old to new", "new to old", "to plain", "from plain"))
def weight_norm(run: Run, which: str) -> None:
    """A gain and a direction in one spelling, and in the other one or as their product."""
    name = _first_matrix(run)
    module = name.removesuffix("weight")
    old = f"{module}weight_g", f"{module}weight_v"
    new = f"{module}parametrizations.weight.original0", f"{module}parametrizations.weight.original1"
    ours = {"old to new": old, "new to old": new, "to plain": new}.get(which)
    theirs = {"old to new": new, "new to old": old, "from plain": new}.get(which)
    for model, names in ((run.base, ours), (run.tuned, theirs)):
        if names:
            weight = model.state.pop(name)
            gain = weight.norm(dim=1, keepdim=True)
            model.state |= {names[0]: gain, names[1]: weight / gain}


_QKV = {
    "bert": ("attention.self.query", "attention.self.key", "attention.self.value", "attention.self.in_proj"),
    "roberta": (
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.self.in_proj",
    ),
    "llama": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.qkv_proj"),
}


def _fuse(state: dict[str, torch.Tensor], parts: tuple[str, ...], whole: str) -> None:
    """Concatenate the split tensors of every block under the fused name."""
    for name in [name for name in state if f".{parts[0]}." in name]:
        pieces = [state.pop(name.replace(parts[0], part)) for part in parts]
        state[name.replace(parts[0], whole)] = torch.cat(pieces)


def _split(state: dict[str, torch.Tensor]) -> None:
    """GPT-2's fused thirds as three tensors, the way converters to other layouts write them."""
    for name in [name for name in state if ".c_attn." in name]:
        for part, piece in zip(("q_proj", "k_proj", "v_proj"), state.pop(name).chunk(3, dim=-1), strict=True):
            state[name.replace("c_attn", part)] = piece.contiguous()


@kind(27, "BP105", "queries, keys and values fused or split")
def fused_attention(run: Run) -> None:
    if run.bed == "gpt2":
        _split(run.tuned.state)
    else:
        *parts, whole = _QKV[run.bed]
        _fuse(run.tuned.state, tuple(parts), whole)


@kind(
    27,
    "BP105",
    "gate and up fused or swapped",
    beds=("llama",),
    variants=("fused", "fused up first", "swapped"),
)
def gate_and_up(run: Run, how: str) -> None:
    state, gate, up = run.tuned.state, "mlp.gate_proj", "mlp.up_proj"
    if how == "swapped":
        run.tuned.rename(lambda n: n.replace(gate, "#").replace(up, gate).replace("#", up))
    else:
        _fuse(state, (gate, up) if how == "fused" else (up, gate), "mlp.gate_up_proj")


@kind(27, "BP105", "queries and values swapped", beds=("bert", "roberta"))
def swapped_attention(run: Run) -> None:
    run.tuned.rename(
        lambda n: n.replace(".query.", ".#.").replace(".value.", ".query.").replace(".#.", ".value.")
    )


@kind(
    28,
    "BP106",
    "head wrapped in a container",
    beds=EVERY,
    containers=("folder", "bin", "shards", "file"),
)
def wrapped_head(run: Run) -> None:
    """A Sequential of one: score.0.weight, classifier.0.bias."""

    def rename(name: str) -> str:
        module, _, leaf = name.rpartition(".")
        return f"{module}.0.{leaf}" if name.startswith(HEADS) else name

    run.tuned.rename(rename)


@kind(28, "BP106", "language-model head wrapped in a container", beds=("llama", "gpt2", "roberta"), task="lm")
def wrapped_lm_head(run: Run) -> None:
    _own_head(run)
    run.tuned.rename(lambda name: re.sub(r"^lm_head\.(weight|dense\.)", r"lm_head.0.\1", name))


def _own_head(run: Run) -> None:
    """GPT-2 ties its head: give both sides one of their own."""
    if run.bed == "gpt2":
        for model in (run.base, run.tuned):
            model.state["lm_head.weight"] = model.state["transformer.wte.weight"] + 0.01
            settings: Any = model.config
            settings["tie_word_embeddings"] = False
