"""Targets that lie beside weights: configurations, tokenizers, adapters, what a trainer wrote.

All go the whole way that files alone allow: open, recognise, align, diff, every measure, every rule, every
text that comes of it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from home import Target, empty, parsed, place, write_weights

from bitfit_probe.api.check import explanations
from bitfit_probe.api.report import report as report_of
from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.errors import BitfitProbeError
from bitfit_probe.pair import open_pairs
from bitfit_probe.recommendation.costs import costs
from bitfit_probe.records.options import ReportOptions
from bitfit_probe.rendering import (
    check_to_json,
    check_to_sarif,
    check_to_text,
    diff_to_csv,
    printable,
    report_to_json,
    report_to_markdown,
    report_to_text,
)
from bitfit_probe.rules import check

__all__ = ["TARGETS"]

Weights = dict[str, np.ndarray]

#: What a made-up error may come to; a screen holds this much.
_LONGEST_ERROR = 4096
_WIDE = 4


def _ones(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed + sum(shape)).standard_normal(shape).astype("<f4")


def _bert() -> Weights:
    out = {
        "bert.embeddings.word_embeddings.weight": _ones(9, _WIDE),
        "bert.embeddings.position_embeddings.weight": _ones(8, _WIDE),
        "bert.embeddings.token_type_embeddings.weight": _ones(2, _WIDE),
        "bert.pooler.dense.weight": _ones(_WIDE, _WIDE),
        "bert.pooler.dense.bias": _ones(_WIDE),
        "classifier.weight": _ones(2, _WIDE),
        "classifier.bias": _ones(2),
    }
    names = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense")
    for number, name in enumerate((*names, "attention.output.LayerNorm")):
        stem = f"bert.encoder.layer.0.{name}"
        out[f"{stem}.weight"] = _ones(_WIDE, *(() if "Norm" in name else (_WIDE,)), seed=number)
        out[f"{stem}.bias"] = _ones(_WIDE, seed=number)
    return out


def _gpt2() -> Weights:
    return {
        "transformer.wte.weight": _ones(9, _WIDE),
        "transformer.wpe.weight": _ones(8, _WIDE),
        "transformer.h.0.attn.c_attn.weight": _ones(_WIDE, 3 * _WIDE),
        "transformer.h.0.attn.c_attn.bias": _ones(3 * _WIDE),
        "transformer.h.0.attn.c_proj.weight": _ones(_WIDE, _WIDE),
        "transformer.h.0.attn.c_proj.bias": _ones(_WIDE),
        "transformer.h.0.ln_1.weight": _ones(_WIDE),
        "transformer.h.0.ln_1.bias": _ones(_WIDE),
        "lm_head.weight": _ones(9, _WIDE),
        "score.weight": _ones(2, _WIDE),
    }


def _neox() -> Weights:
    stem = "gpt_neox.layers.0.attention"
    return {
        "gpt_neox.embed_in.weight": _ones(9, _WIDE),
        f"{stem}.query_key_value.weight": _ones(3 * _WIDE, _WIDE),
        f"{stem}.query_key_value.bias": _ones(3 * _WIDE),
        f"{stem}.dense.weight": _ones(_WIDE, _WIDE),
        f"{stem}.dense.bias": _ones(_WIDE),
        "embed_out.weight": _ones(9, _WIDE),
    }


def _llama() -> Weights:
    out = {"model.embed_tokens.weight": _ones(9, _WIDE), "lm_head.weight": _ones(9, _WIDE)}
    for name in ("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj"):
        out[f"model.layers.0.{name}.weight"] = _ones(12 if "qkv" in name else _WIDE, _WIDE)
        out[f"model.layers.0.{name}.bias"] = _ones(12 if "qkv" in name else _WIDE)
    return out


def _foreign() -> Weights:
    return {"a.bias": _ones(3), "a.weight": _ones(3, 3), "layers.1.q.weight": _ones(3, 3), "x": _ones(1)}


_FAMILIES: dict[str, Callable[[], Weights]] = {
    "bert": _bert,
    "gpt2": _gpt2,
    "neox": _neox,
    "llama": _llama,
    "foreign": _foreign,
}


def _moved(weights: Weights) -> Weights:
    return {name: value + np.float32(0.01) * name.endswith("bias") for name, value in weights.items()}


def _pair(family: str) -> tuple[Path, Path]:
    """Folders with the family's tiny base and its biases moved, and nothing beside the weights."""
    weights = _FAMILIES.get(family, _bert)()
    base, tuned = empty("base"), empty("tuned")
    write_weights(base / "model.safetensors", weights)
    write_weights(tuned / "model.safetensors", _moved(weights))
    return base, tuned


def _look(base: Path, *tuned: Path, measure: bool = False) -> None:
    """What `check` would print of them, and all that `report` would on demand."""
    for what in (_judge, _measure) if measure else (_judge,):
        told = ""
        try:
            what(base, *tuned).encode()
        except BitfitProbeError as error:
            told = printable(str(error))
        assert len(told.encode()) < _LONGEST_ERROR, "an error fits on a screen"


def _judge(base: Path, *tuned: Path) -> str:
    found = check(open_pairs(base, tuned), strict=True)
    codes = {finding.code for finding in found.findings}
    sarif = check_to_sarif(found, [rule for rule in explanations() if rule.code in codes], version="0")
    return check_to_text(found) + check_to_json(found) + sarif


def _measure(base: Path, *tuned: Path) -> str:
    assert all(cost.trainable >= 0 for cost in costs(open_checkpoint(tuned[0]), 2, 8))
    asked = ReportOptions(spectra=False, hashes=False, check=False, trajectory=True)
    report = report_of(base, *tuned, options=asked)
    texts = report_to_text(report), report_to_json(report), report_to_markdown(report)
    return "".join(texts) + diff_to_csv(report.diff)


def _beside(*names: str) -> Target:
    """A target that takes a JSON object: ``family``, and files of these names."""

    def target(data: bytes) -> None:
        told = parsed(data)
        base, tuned = _pair(str(told.get("family")))
        for name in names:
            if name in told:
                place(tuned, name, told[name])
        for name in told.get("also_base") if isinstance(told.get("also_base"), list) else ():
            if name in names and name in told:
                place(base, name, told[name])
        _look(base, tuned, measure="config.json" in told)

    return target


def _training(data: bytes) -> None:
    """Two checkpoints of a run, with what trainers write beside them."""
    told = parsed(data)
    base, tuned = _pair("bert")
    folders = [tuned / "checkpoint-1", tuned / "checkpoint-2"]
    for number, folder in enumerate(folders):
        folder.mkdir()
        write_weights(folder / "model.safetensors", _moved(_moved(_bert()) if number else _bert()))
        for name in ("trainer_state.json", "run_card.json", "config.json"):
            if (key := f"{number}/{name}") in told or (key := name) in told:
                place(folder, name, told[key])
    _look(base, *folders, measure=True)


_LAYER = "base_model.model.bert.encoder.layer"


def _adapters() -> dict[str, Weights]:
    query, value = f"{_LAYER}.0.attention.self.query", f"{_LAYER}.0.attention.self.value"
    lora = {
        f"{stem}.lora_{factor}.weight": _ones(*shape)
        for stem in (query, value)
        for factor, shape in (("A", (2, _WIDE)), ("B", (_WIDE, 2)))
    }
    return {
        "lora": lora,
        "dora": {**lora, f"{query}.lora_magnitude_vector": _ones(_WIDE)},
        "bias": {**lora, f"{query}.base_layer.bias": _ones(_WIDE), f"{value}.lora_B.bias": _ones(_WIDE)},
        "head": {**lora, "base_model.model.classifier.weight": _ones(2, _WIDE)},
        "ia3": {f"{query}.ia3_l": _ones(_WIDE, 1), f"{value}.ia3_l": _ones(1, _WIDE)},
        "beft": {f"{query}.beft_bias": _ones(_WIDE)},
        "norms": {f"{_LAYER}.0.attention.output.LayerNorm.weight": _ones(_WIDE)},
        "tokens": {
            "base_model.model.bert.embeddings.word_embeddings.token_adapter.trainable_tokens_delta": _ones(
                2, _WIDE
            )
        },
        "embedding": {
            "base_model.model.bert.embeddings.word_embeddings.lora_embedding_A": _ones(2, 9),
            "base_model.model.bert.embeddings.word_embeddings.lora_embedding_B": _ones(_WIDE, 2),
        },
    }


def _adapter_config(data: bytes) -> None:
    """``weights``, which tensors lie in the adapter's folder, and ``adapter_config.json``; or that alone."""
    told = parsed(data)
    base, tuned = _pair("bert")
    (tuned / "model.safetensors").unlink()
    kinds = _adapters()
    write_weights(tuned / "adapter_model.safetensors", kinds.get(str(told.get("weights")), kinds["lora"]))
    place(tuned, "adapter_config.json", told.get("adapter_config.json", data.decode("latin-1")))
    _look(base, tuned)


_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")

#: By name; every one takes JSON.
TARGETS: dict[str, Target] = {
    "adapter_config": _adapter_config,
    "config": _beside("config.json", "generation_config.json"),
    "tokenizer": _beside(*_TOKENIZER, "vocab.txt", "vocab.json", "merges.txt", "config.json"),
    "training": _training,
}
