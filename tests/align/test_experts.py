"""Mixtures of experts: stored one by one or all in one tensor, and adapters of both, as PEFT merges them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from support.composites import TEXT

import bitfit_probe
from bitfit_probe.align import align
from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.rendering import headline

MOE = TEXT | {"num_experts_per_tok": 2, "tie_word_embeddings": False}
#: Class, and what its config needs besides; experts of gpt-oss are square, so that shapes tell no layout.
CLASSES = {
    "Mixtral": {"num_local_experts": 4, "intermediate_size": 32},
    "Qwen3Moe": {"num_experts": 4, "moe_intermediate_size": 32},
    "Qwen2Moe": {"num_experts": 4, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 16},
    "Olmoe": {"num_experts": 4, "intermediate_size": 32},
    "GptOss": {"num_local_experts": 4, "intermediate_size": 64},
    "GraniteMoe": {"num_local_experts": 4, "intermediate_size": 32},
    "DeepseekV3": {
        "n_routed_experts": 4,
        "moe_intermediate_size": 32,
        "n_group": 1,
        "topk_group": 1,
        "kv_lora_rank": 8,
        "q_lora_rank": 8,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 8,
        "v_head_dim": 16,
        "head_dim": 8,
        "first_k_dense_replace": 1,
    },
}


def model(stem: str) -> Any:
    import transformers

    cls = getattr(transformers, f"{stem}ForCausalLM")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        made = cls(cls.config_class(**MOE | CLASSES[stem]))
        for parameter in made.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    return made


def save_in_memory_names(made: Any, folder: Path) -> Path:
    """All experts of a layer in one tensor, as the class holds them."""
    folder.mkdir()
    state = {name: tensor.numpy() for name, tensor in made.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(made.config.to_dict(), default=str))
    return folder


def save(made: Any, folder: Path) -> Path:
    """Under the names of the published files."""
    made.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("stem", CLASSES)
def test_both_layouts_are_one_model(tmp_path: Path, stem: str):
    made = model(stem)
    paths = save(made, tmp_path / "file"), save_in_memory_names(made, tmp_path / "memory")
    for one, other in (paths, paths[::-1]):
        found = bitfit_probe.diff(one, other).comparisons[0]
        assert (found.verdict, found.coverage.share) == ("identical", 1.0)
        assert (found.unmatched_base, found.unmatched_tuned) == ((), ())


@pytest.mark.parametrize("turned", [False, True])
def test_an_expert_that_moved_is_told_by_its_number(tmp_path: Path, turned: bool):
    made = model("Mixtral")
    base = save(made, tmp_path / "base")
    name = "model.layers.1.mlp.experts.gate_up_proj"
    with torch.no_grad():
        made.get_parameter(name)[2, 32:] += 0.5  # rows of the up projection follow the gate's
    tuned = save_in_memory_names(made, tmp_path / "tuned")
    found = bitfit_probe.diff(*((tuned, base) if turned else (base, tuned))).comparisons[0]
    moved = [row for row in found.tensors if row.moved]
    assert [(row.info.role, row.info.layer, row.info.expert) for row in moved] == [("em2", 1, 2)]
    assert [row.mean_abs_delta for row in moved] == [pytest.approx(0.5, rel=1e-6)]


def test_an_incomplete_set_of_experts_is_not_taken_for_all(tmp_path: Path):
    made = model("Qwen3Moe")
    base = save_in_memory_names(made, tmp_path / "base")
    tuned = save(made, tmp_path / "tuned")
    tensors = load_file(tuned / "model.safetensors")
    del tensors["model.layers.0.mlp.experts.3.down_proj.weight"]
    save_file(tensors, tuned / "model.safetensors")
    found = bitfit_probe.diff(base, tuned).comparisons[0]
    assert [item.name for item in found.unmatched_base] == ["model.layers.0.mlp.experts.down_proj"]
    assert len(found.unmatched_tuned) == 3


@pytest.mark.parametrize("layout", [save, save_in_memory_names])
@pytest.mark.parametrize("stem", ["Qwen3Moe", "Mixtral", "GptOss", "Olmoe"])
def test_target_parameters_as_peft_merges_them(tmp_path: Path, stem: str, layout: Any):
    import peft

    made = model(stem)
    base = layout(made, tmp_path / "base")
    config = peft.LoraConfig(
        r=4,
        lora_alpha=6,
        target_modules=["q_proj"],
        target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"],
        rank_pattern={"gate_up_proj": 2},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tuned = peft.get_peft_model(made, config)
        for name, parameter in tuned.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, std=0.1)
        tuned.save_pretrained(tmp_path / "adapter")
        merged = layout(tuned.merge_and_unload(), tmp_path / "merged")
    told = {pair.base.name: pair for pair in _pairs(base, tmp_path / "adapter") if pair.in_file}
    expected = load_file(merged / "model.safetensors")
    assert sum(name.count("q_proj.weight") for name in told) == 2
    assert len(told) == 2 + 2 * (2 if layout is save_in_memory_names or stem == "GptOss" else 12)
    for name, pair in told.items():
        ours = pair.tuned.values()
        assert ours.shape == expected[name].shape
        assert np.abs(ours - expected[name]).max() < 1e-6


def _pairs(base: Path, tuned: Path) -> tuple[Any, ...]:
    return align(open_checkpoint(base), open_checkpoint(tuned)).pairs


@pytest.mark.parametrize(
    ("stem", "count"), [("GptOss", 2 * 7), ("Qwen2Moe", 2 * 3)]
)  # q k v o router, two of the experts; q k v
def test_bitfit_is_told_with_exact_counts(tmp_path: Path, stem: str, count: int):
    made = model(stem)
    base = save(made, tmp_path / "base")
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "bias" in name:
                parameter += 0.01
    found = bitfit_probe.diff(base, save(made, tmp_path / "tuned")).comparisons[0]
    assert headline(found) == f"BitFit: {count} of {count} biases moved, nothing else."


def test_per_expert_adapters_of_transformers_4(tmp_path: Path):
    """Experts were modules of their own there, and factors have their names."""
    base = save(model("Qwen3Moe"), tmp_path / "base")
    rng = np.random.default_rng(0)
    factors: dict[str, Any] = {}
    for expert in range(4):
        stem = f"base_model.model.model.layers.0.mlp.experts.{expert}.gate_proj"
        for factor, shape in (("A", (2, 64)), ("B", (32, 2))):
            factors[f"{stem}.lora_{factor}.weight"] = rng.normal(size=shape).astype("f4")
    folder = tmp_path / "adapter"
    folder.mkdir()
    save_file(factors, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["gate_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    rows = [row for row in bitfit_probe.diff(base, folder).comparisons[0].tensors if row.moved]
    assert [(row.info.role, row.info.layer, row.info.expert) for row in rows] == [
        ("egate", 0, expert) for expert in range(4)
    ]


def test_layers_that_predict_further_tokens_are_a_part(tmp_path: Path):
    """DeepSeek-V3 keeps them behind its last layer, and transformers leaves them out."""
    base = save(model("DeepseekV3"), tmp_path / "base")
    tensors = load_file(base / "model.safetensors")
    extra = {name.replace("layers.1.", "layers.2."): v for name, v in tensors.items() if "layers.1." in name}
    extra["model.layers.2.eh_proj.weight"] = np.ones((64, 128), "f4")
    extra["model.layers.2.enorm.weight"] = np.ones(64, "f4")
    whole = tmp_path / "whole"
    whole.mkdir()
    save_file(tensors | extra, whole / "model.safetensors")
    (whole / "config.json").write_text((base / "config.json").read_text())
    found = bitfit_probe.diff(whole, base).comparisons[0]
    assert {part.name: part.state for part in found.model_parts} == {
        "language_model": "compared",
        "mtp": "absent",
    }
    assert "mtp absent" in headline(found)
