"""What adapter_config.json promises of the file beside it, and of the base."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import save_file
from support.builders import State, config_of, model, state, write
from support.checking import run_rules

from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.promises import Case, promises_of
from bitfit_probe.records import Finding

_MODULES = {
    "bert": ("bert.encoder.layer.{}.attention.self.query", "bert.encoder.layer.{}.attention.self.value"),
    "llama": ("model.layers.{}.self_attn.q_proj", "model.layers.{}.mlp.down_proj"),
}


def factors(kind: str, rank: int = 4) -> State:
    """Factors of two kinds of module in both layers, drawn at random."""
    torch.manual_seed(0)
    out = {}
    for module in (name.format(layer) for layer in (0, 1) for name in _MODULES[kind]):
        rows, columns = state(kind)[f"{module}.weight"].shape
        out[f"base_model.model.{module}.lora_A.weight"] = torch.randn(rank, columns)
        out[f"base_model.model.{module}.lora_B.weight"] = torch.randn(rows, rank)
    return out


def written(folder: Path, tensors: State, **config: Any) -> Path:
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["query", "value"]} | config
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder


def broken(folder: Path, kind: str, adapter: Path) -> list[Finding]:
    base = write(folder / "base", state(kind), config_of(kind))
    return [item for item in run_rules(base, adapter).findings if item.code == "BP709"]


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_an_adapter_that_is_as_it_was_saved(tmp_path: Path, kind: str) -> None:
    ends = [name.rpartition(".")[2] for name in _MODULES[kind]]
    adapter = written(tmp_path / "a", factors(kind), target_modules=ends)
    assert broken(tmp_path, kind, adapter) == []
    states = {item.state for item in promises_of(Case(open_checkpoint(adapter))).items}
    assert states == {"kept"}


@pytest.mark.parametrize(("kind", "end"), [("bert", "value"), ("llama", "down_proj")])
def test_a_rank_that_the_configuration_lost(tmp_path: Path, kind: str, end: str) -> None:
    tensors = {n: t if f".{end}." not in n else half(n, t) for n, t in factors(kind).items()}
    (finding,) = broken(tmp_path, kind, written(tmp_path / "a", tensors))
    assert "promises rank 4 in" in finding.message
    assert "factors of rank 2, and another rank in 2 of 4 modules" in finding.message
    assert all(name.endswith(end) for name in finding.subjects)
    pattern = written(tmp_path / "b", tensors, rank_pattern={end: 2})
    assert promises_of(Case(open_checkpoint(pattern))).of("broken") == ()


def half(name: str, tensor: torch.Tensor) -> torch.Tensor:
    return (tensor[:2] if "lora_A" in name else tensor[:, :2]).contiguous()


def test_peft_refuses_what_is_called_a_lost_rank(tmp_path: Path) -> None:
    tensors = {n: half(n, t) if ".value." in n else t for n, t in factors("bert").items()}
    adapter = written(tmp_path / "a", tensors)
    with pytest.raises(RuntimeError, match="size mismatch"):
        peft.PeftModel.from_pretrained(model("bert"), adapter)


def test_magnitudes_are_in_all_modules_or_in_none(tmp_path: Path) -> None:
    name = "base_model.model.bert.encoder.layer.0.attention.self.query.lora_magnitude_vector"
    some = factors("bert") | {name: torch.ones(32)}
    (finding,) = broken(tmp_path, "bert", written(tmp_path / "a", some, use_dora=True))
    assert len(finding.subjects) == 3
    (finding,) = broken(tmp_path, "bert", written(tmp_path / "b", some))
    assert "magnitudes in 1 module" in finding.message


def test_biases_for_which_the_base_has_no_place(tmp_path: Path) -> None:
    tensors = factors("llama")
    shifts = {n.replace(".weight", ".bias"): torch.ones(t.shape[0]) for n, t in tensors.items() if "_B" in n}
    adapter = written(tmp_path / "a", tensors | shifts, lora_bias=True)
    (finding,) = broken(tmp_path, "llama", adapter)
    assert finding.severity == "warning"
    assert "4 modules without one" in finding.message
    assert "can't merge" in finding.message


def test_biases_that_a_base_has_are_no_finding(tmp_path: Path) -> None:
    tensors = factors("bert")
    shifts = {n.replace(".weight", ".bias"): torch.ones(t.shape[0]) for n, t in tensors.items() if "_B" in n}
    adapter = written(tmp_path / "a", tensors | shifts, lora_bias=True)
    assert broken(tmp_path, "bert", adapter) == []


def test_a_target_that_was_excluded_needs_no_factors(tmp_path: Path) -> None:
    config = {"target_modules": ["query", "value", "key"], "exclude_modules": ["key"]}
    adapter = written(tmp_path / "a", factors("bert"), **config)
    assert {item.state for item in promises_of(Case(open_checkpoint(adapter))).items} == {"kept"}


def test_modules_that_were_to_be_saved(tmp_path: Path) -> None:
    adapter = written(tmp_path / "a", factors("bert"), modules_to_save=["classifier", "score"])
    (item,) = promises_of(Case(open_checkpoint(adapter))).of("broken")
    assert item.subjects == ("classifier", "score")
    head = {"base_model.model.classifier.weight": torch.ones(2, 32)}
    saved = written(tmp_path / "b", factors("bert") | head, modules_to_save=["classifier", "score"])
    assert promises_of(Case(open_checkpoint(saved))).of("broken") == ()
    assert broken(tmp_path, "bert", saved) == []
