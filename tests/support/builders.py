"""Checkpoints for the tests: written from dicts of arrays, from tiny real models, and changed by plan."""

from __future__ import annotations

import json
import warnings
from collections import OrderedDict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from bitfit_probe.records import Comparison, Diff, TensorDelta

State = dict[str, torch.Tensor]

WORDS = {"vocab_size": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
BERT = WORDS | {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
}
IMAGE = {key: BERT[key] for key in BERT if key not in WORDS} | {"image_size": 8, "patch_size": 4}
GPT2 = WORDS | {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 24}
T5 = WORDS | {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("BertForSequenceClassification", BERT),
    "bert-mlm": ("BertForMaskedLM", BERT),
    "bert-bare": ("BertModel", BERT),
    "roberta": ("RobertaForSequenceClassification", BERT),
    "distilbert": (
        "DistilBertForSequenceClassification",
        {
            "dim": 32,
            "n_layers": 2,
            "n_heads": 4,
            "hidden_dim": 48,
            "vocab_size": 64,
            "max_position_embeddings": 24,
        },
    ),
    "gpt2": ("GPT2LMHeadModel", GPT2),
    "llama": ("LlamaForCausalLM", BERT | {"num_key_value_heads": 2, "head_dim": 8}),
    "t5": ("T5ForConditionalGeneration", T5),
    "vit": ("ViTForImageClassification", IMAGE),
    "opt": ("OPTForCausalLM", BERT | {"ffn_dim": 48, "word_embed_proj_dim": 32}),
}


@cache
def _model(kind: str) -> Any:
    import transformers

    name, settings = MODELS[kind]
    cls = getattr(transformers, name)
    torch.manual_seed(7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = cls(cls.config_class(**settings)).eval()
    with torch.no_grad():  # biases start at 0, which hides rounding faults
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def model(kind: str) -> Any:
    """A fresh copy of a tiny model of transformers, every parameter with noise."""
    import copy

    return copy.deepcopy(_model(kind))


def state(kind: str) -> State:
    """Its state dict, cloned, without the second names of tied tensors."""
    seen: set[int] = set()
    out: State = {}
    for name, tensor in _model(kind).state_dict().items():
        if tensor.data_ptr() not in seen or not tensor.numel():
            seen.add(tensor.data_ptr())
            out[name] = tensor.clone()
    return out


def config_of(kind: str, **changes: Any) -> dict[str, Any]:
    """Its config.json, whole, with some entries changed."""
    return json.loads(_model(kind).config.to_json_string(use_diff=False)) | changes


def copied(source: State) -> State:
    return {name: tensor.clone() for name, tensor in source.items()}


def move(source: State, *names: str, by: float = 0.01) -> State:
    """A copy in which the named tensors moved by normal noise of that size."""
    out, random = copied(source), torch.Generator().manual_seed(3)
    for name in names:
        noise = torch.randn(out[name].shape, generator=random)
        out[name] = (out[name].float() + by * noise).to(out[name].dtype)
    return out


def cast(source: State, *dtypes: torch.dtype) -> State:
    """A copy cast through `dtypes` one after the other, floats only."""
    out = copied(source)
    for dtype in dtypes:
        out = {name: t.to(dtype) if t.is_floating_point() else t for name, t in out.items()}
    return out


def biases(
    source: State, head: tuple[str, ...] = ("classifier", "cls", "lm_head", "pre_classifier")
) -> list[str]:
    """Names of the body's biases in models whose every vector called bias is one."""
    return [n for n in source if n.endswith(".bias") and source[n].ndim == 1 and not n.startswith(head)]


def write(path: Path, tensors: State, config: dict[str, Any] | None = None) -> Path:
    """Write `tensors`; the name's ending says how.

    ``.safetensors``, ``.pt`` (zip), ``.legacy`` (torch before 1.6), ``.index.json`` (three shards),
    anything else is a directory with model.safetensors.
    """
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    if path.name.endswith(".index.json"):
        return _write_shards(path, tensors)
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    elif path.suffix == ".pt":
        torch.save(OrderedDict(tensors), path)
    elif path.suffix == ".legacy":
        torch.save(OrderedDict(tensors), path, _use_new_zipfile_serialization=False)
    else:
        path.mkdir(parents=True, exist_ok=True)
        save_file(tensors, path / "model.safetensors")
        if config is not None:
            (path / "config.json").write_text(json.dumps(config))
    return path


def _write_shards(index: Path, tensors: State) -> Path:
    index.parent.mkdir(parents=True, exist_ok=True)
    weight_map = {}
    for part in range(3):
        shard = f"model-{part + 1:05}-of-00003.safetensors"
        names = list(tensors)[part::3]
        save_file({name: tensors[name] for name in names}, index.parent / shard)
        weight_map |= dict.fromkeys(names, shard)
    ordered = {name: weight_map[name] for name in tensors}
    index.write_text(json.dumps({"metadata": {}, "weight_map": ordered}))
    return index


def diff_states(folder: Path, base: State, *tuned: State, **options: Any) -> Diff:
    """Write both sides as safetensors and diff them."""
    import bitfit_probe

    number = len(list(folder.iterdir()))
    paths = [
        write(folder / f"{number}-{side}.safetensors", tensors) for side, tensors in enumerate((base, *tuned))
    ]
    return bitfit_probe.diff(*paths, **options)


def compare(folder: Path, base: State, tuned: State, **options: Any) -> Comparison:
    return diff_states(folder, base, tuned, **options).comparisons[0]


def row(comparison: Comparison, name: str, part: str | None = None) -> TensorDelta:
    """The row of one tensor."""
    (found,) = (item for item in comparison.tensors if item.name == name and item.part == part)
    return found


def moved(comparison: Comparison) -> set[str]:
    return {item.name for item in comparison.tensors if item.moved}


def toy(**tensors: Any) -> State:
    """A state dict of arrays under the names given, ``__`` standing for a dot."""
    return {name.replace("__", "."): torch.from_numpy(np.asarray(value)) for name, value in tensors.items()}
