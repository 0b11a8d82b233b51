"""C1 to C10: what looks like a fault and is none."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from zoo.beds import HEADS, KEY_BIASES, Run, is_bias, train
from zoo.specimens import kind
from zoo.training import WITH_BIASES
from zoo.vocabulary import _embedding


@kind(
    "C1",
    None,
    "tied output absent",
    task="lm",
    beds=("gpt2", "bert", "roberta"),
    containers=("folder", "bin"),
)
def tied(run: Run) -> None:
    """The base stores the tied output a second time; the tuned file does not."""
    head = {
        "gpt2": "lm_head.weight",
        "bert": "cls.predictions.decoder.weight",
        "roberta": "lm_head.decoder.weight",
    }
    run.base.state[head[run.bed]] = run.base.state[_embedding(run)].clone()


@kind("C1", None, "tied output absent", task="lm", beds=("llama",))
def tied_llama(run: Run) -> None:
    for model in (run.base, run.tuned):
        model.drop(lambda name: name == "lm_head.weight")
        assert model.config is not None
        model.config["tie_word_embeddings"] = True


@kind("C2", None, "padded vocabulary rows", variants=("zeros", "random", "base too"))
def padded(run: Run, how: str) -> None:
    """More rows than tokens, to a round number: no token reads them."""
    name = _embedding(run)
    for model in (run.base, run.tuned) if how == "base too" else (run.tuned,):
        width = model.state[name].shape[1]
        rows = torch.zeros(4, width) if how != "random" else 0.02 * torch.randn(4, width)
        model.state[name] = torch.cat([model.state[name], rows])
        for head in ("cls.predictions.bias", "lm_head.bias", "lm_head.weight"):
            if head in model.state:
                model.state[head] = torch.cat([model.state[head], torch.zeros_like(model.state[head][:4])])
        assert model.config is not None
        model.config["vocab_size"] += 4


@kind(
    "C3",
    None,
    "unused pooler missing",
    beds=("bert",),
    variants=("BertForTokenClassification", "BertForMaskedLM"),
)
def pooler(run: Run, architecture: str) -> None:
    """A token classifier and a masked language model read no pooler."""
    run.tuned.drop(lambda name: "pooler" in name)
    assert run.tuned.config is not None
    run.tuned.config["architectures"] = [architecture]
    if architecture.endswith("MaskedLM"):
        run.tuned.drop(lambda name: name.startswith(HEADS))
        run.tuned.state |= {
            n: t.clone() for n, t in run.base.state.items() if n.startswith("cls.predictions")
        }


@kind("C3", None, "pooler beside mean pooling", beds=("bert",))
def mean_pooling(run: Run) -> None:
    """A sentence-transformers folder that averages tokens."""
    run.tuned.drop(lambda name: "pooler" in name or name.startswith(HEADS))
    run.tuned.rename(lambda name: name.removeprefix(run.body))
    assert run.tuned.config is not None
    run.tuned.config["architectures"] = ["BertModel"]
    pooling = {
        "word_embedding_dimension": 32,
        "pooling_mode_mean_tokens": True,
        "pooling_mode_cls_token": False,
    }
    run.tuned.files["1_Pooling/config.json"] = pooling


@kind("C4", None, "mask buffers called bias", beds=("gpt2",), task="lm", variants=("tuned", "base", "both"))
def masks(run: Run, where: str) -> None:
    sides = {"tuned": (run.tuned,), "base": (run.base,), "both": (run.base, run.tuned)}[where]
    for size, model in enumerate(sides, 24):
        for layer in range(2):
            mask = torch.tril(torch.ones(size, size, dtype=torch.bool))
            model.state[f"transformer.h.{layer}.attn.bias"] = mask.view(1, 1, size, size)
            model.state[f"transformer.h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)


@kind("C5", None, "position ids or rotary buffers missing", variants=("base", "tuned"))
def buffers(run: Run, where: str) -> None:
    model = run.base if where == "base" else run.tuned
    if run.bed in ("bert", "roberta"):
        model.state[f"{run.body}embeddings.position_ids"] = torch.arange(24).unsqueeze(0)
    elif run.bed == "llama":
        for layer in range(2):
            model.state[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = torch.rand(4)


@kind("C6", None, "cast and tuned", variants=("bfloat16", "float16"), containers=("folder", "file"))
def cast(run: Run, dtype: str) -> None:
    """A run saved in half precision: what did not train is only rounded."""
    run.tuned.state = {name: tensor.to(getattr(torch, dtype)) for name, tensor in run.tuned.state.items()}


@kind("C7", None, "key bias not moving", beds=("bert", "roberta"))
def key_bias(run: Run) -> None:
    for name in run.tuned.names(end=KEY_BIASES[0]):
        run.tuned.state[name] = run.base.state[name].clone()


@kind("C8", None, "bias-only delta file", beds=WITH_BIASES, variants=("with head", "biases only"))
def delta_file(run: Run, how: str) -> None:
    with_head = how == "with head"
    run.tuned.drop(lambda name: not (is_bias(name) or (with_head and name.startswith(HEADS))))


@kind("C9", None, "stale index beside a single file")
def stale_index(run: Run) -> None:
    def add(folder: Path) -> None:
        text = '{"metadata": {}, "weight_map": {"gone": "model-00001-of-00002.safetensors"}}'
        (folder / "model.safetensors.index.json").write_text(text)

    run.tuned.after.append(add)


@kind("C9", None, "the same weights in two containers", variants=("equal", "cast"))
def two_containers(run: Run, how: str) -> None:
    """A pickle for older loaders beside the safetensors, in the same type or in another one."""
    half = {name: t.bfloat16() if how == "cast" else t.clone() for name, t in run.tuned.state.items()}
    run.tuned.after.append(lambda folder: torch.save(half, folder / "pytorch_model.bin"))


@kind("C9", None, "the shards of an index beside a single file")
def kept_shards(run: Run) -> None:
    """All of the same weights, saved once in one file and once in shards."""
    whole = {name: tensor.clone() for name, tensor in run.tuned.state.items()}

    def add(folder: Path) -> None:
        shard = "pytorch_model-00001-of-00001.bin"
        torch.save(whole, folder / shard)
        index = {"metadata": {}, "weight_map": dict.fromkeys(whole, shard)}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))

    run.tuned.after.append(add)


@kind("C10", None, "full fine-tune with decay")
def full_with_decay(run: Run) -> None:
    """Every matrix trained at 2e-5; embedding rows that no batch held only shrink."""
    state = run.tuned.state
    for name in [name for name in state if name in run.base.state]:
        state[name] = run.base.state[name].clone()
    train(state, list(state), lr=2e-5, steps=500)
    name = _embedding(run)
    unseen = state[name]
    unseen[30:] = run.base.state[name][30:] * (1 - 1e-2 * 2e-5 * 250)
    state[name] = unseen
