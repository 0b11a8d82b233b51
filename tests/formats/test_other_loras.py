"""LoRA of other libraries than peft: base + adapter is what the library itself makes of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import loralib
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from support.adapters import factors

import bitfit_probe as bp
from bitfit_probe.align import align
from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.errors import UnsupportedError

RECORDED = Path(__file__).parent / "recorded" / "adapters"


def tuned_values(base: Path, adapter: Path) -> dict[str, np.ndarray]:
    alignment = align(open_checkpoint(base), open_checkpoint(adapter))
    assert not alignment.unmatched_tuned
    return {pair.base.name: pair.tuned.values() for pair in alignment.pairs}


@pytest.mark.parametrize("name", ["lora", "dora", "tables"])
def test_an_mlx_adapter_is_what_mlx_lm_fuses(name: str) -> None:
    base, fused = RECORDED / "mlx-base.safetensors", load_file(RECORDED / f"mlx-{name}-fused.safetensors")
    found = tuned_values(base, RECORDED / f"mlx-{name}")
    before = load_file(base)
    assert found.keys() == fused.keys()
    for key, value in fused.items():
        np.testing.assert_allclose(found[key], value, rtol=0, atol=2e-6 * np.abs(value).max(), err_msg=key)
    changed = {key for key in before if not np.array_equal(before[key], fused[key])}
    (comparison,) = bp.diff(base, RECORDED / f"mlx-{name}").comparisons
    assert {row.name for row in comparison.tensors if row.moved} == changed
    assert comparison.adapter.method == ("MLX DoRA" if name == "dora" else "MLX LoRA")


def test_a_checkpoint_of_an_mlx_run_is_read_by_its_file(tmp_path: Path) -> None:
    shutil.copytree(RECORDED / "mlx-lora", tmp_path / "a")
    (tmp_path / "a" / "adapters.safetensors").rename(tmp_path / "a" / "0000100_adapters.safetensors")
    (whole,) = bp.diff(RECORDED / "mlx-lora", tmp_path / "a" / "0000100_adapters.safetensors").comparisons
    assert whole.verdict == "identical"


def mlx(folder: Path, tensors: dict[str, np.ndarray], **config: Any) -> Path:
    folder.mkdir()
    save_file(tensors, folder / "adapters.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"fine_tune_type": "lora", **config}))
    return folder


def test_mlx_whole_layers_are_tensors_of_the_model(tmp_path: Path) -> None:
    base = {"model.layers.0.self_attn.q_proj.weight": np.zeros((8, 8), np.float32)}
    save_file(base, tmp_path / "base.safetensors")
    tuned = {name: value + 1 for name, value in base.items()}
    adapter = mlx(tmp_path / "a", tuned, fine_tune_type="full")
    (found,) = bp.diff(tmp_path / "base.safetensors", adapter).comparisons
    assert (found.tensors[0].max_abs_delta, found.adapter.stored) == (1.0, 1)


def test_mlx_settings_count_as_each_version_means_them(tmp_path: Path) -> None:
    a, b = factors(8, 8, 4, 0)
    name = "model.layers.0.self_attn.q_proj"
    tensors = {f"{name}.lora_a": np.ascontiguousarray(a.T), f"{name}.lora_b": np.ascontiguousarray(b.T)}
    scales = {"new": ({"rank": 4, "scale": 3.0}, 3.0), "old": ({"rank": 4, "alpha": 8, "scale": 3.0}, 6.0)}
    for folder, (settings, scale) in scales.items():
        adapter = open_checkpoint(mlx(tmp_path / folder, tensors, lora_parameters=settings, num_layers=4))
        change = adapter.adapter.altered[f"{name}.weight"]
        np.testing.assert_allclose(change.update.values(), scale * b.astype(float) @ a, rtol=1e-12)
        assert adapter.notes == ("its configuration says num_layers 4, the file changes 1",)
    with pytest.raises(UnsupportedError, match=r"without lora_parameters\.scale; fuse it with mlx_lm\.fuse"):
        open_checkpoint(mlx(tmp_path / "none", tensors, lora_parameters={"rank": 4}))


def test_mlx_experts_are_refused_by_name(tmp_path: Path) -> None:
    name = "model.layers.0.mlp.switch_mlp.gate_proj"
    tensors = {
        f"{name}.lora_a": np.ones((2, 4, 8), np.float32),
        f"{name}.lora_b": np.ones((2, 8, 4), np.float32),
    }
    with pytest.raises(UnsupportedError, match=r"an MLX adapter of experts.*mlx_lm\.fuse"):
        open_checkpoint(mlx(tmp_path / "a", tensors, lora_parameters={"scale": 1.0}))


# loralib ------------------------------------------------------------------------------------------


class Block(torch.nn.Module):
    """A layer with loralib's own, as its GPT-2 has them."""

    def __init__(self, enable: list[bool]) -> None:
        super().__init__()
        self.c_attn = loralib.MergedLinear(8, 24, r=2, lora_alpha=6, enable_lora=enable, fan_in_fan_out=True)
        self.c_proj = loralib.Linear(8, 12, r=3, lora_alpha=6)
        self.wte = loralib.Embedding(16, 8, r=2, lora_alpha=6)


def trained(enable: list[bool]) -> Block:
    torch.manual_seed(0)
    block = Block(enable).train()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return block


def plain(block: Block) -> dict[str, np.ndarray]:
    return {
        f"h.0.{name}": t.detach().numpy().copy()
        for name, t in block.state_dict().items()
        if "lora_" not in name
    }


@pytest.mark.parametrize("enable", [[True, False, True], [True, True, True]])
def test_loralib_factors_are_what_it_merges(tmp_path: Path, enable: list[bool]) -> None:
    block = trained(enable)
    save_file(plain(block), tmp_path / "base.safetensors")
    (tmp_path / "a").mkdir()
    factors_alone = {f"h.0.{name}": t for name, t in loralib.lora_state_dict(block, bias="all").items()}
    torch.save({"model_state_dict": factors_alone}, tmp_path / "a" / "model.pt")
    (tmp_path / "a" / "adapter_config.json").write_text('{"lora_alpha": 6}')
    found = tuned_values(tmp_path / "base.safetensors", tmp_path / "a" / "model.pt")
    merged = plain(block.eval())
    for key, value in merged.items():
        np.testing.assert_allclose(found[key], value, rtol=0, atol=1e-6, err_msg=key)
    assert not np.array_equal(plain(trained(enable))["h.0.c_attn.weight"], merged["h.0.c_attn.weight"])


def test_loralib_factors_without_alpha_are_refused_with_what_to_write(tmp_path: Path) -> None:
    torch.save(loralib.lora_state_dict(trained([True, False, True])), tmp_path / "lora.pt")
    with pytest.raises(UnsupportedError, match=r"come without the scale; put adapter_config\.json beside it"):
        open_checkpoint(tmp_path / "lora.pt")
    (tmp_path / "adapter_config.json").write_text('{"lora_alpha": 6}')
    assert open_checkpoint(tmp_path / "lora.pt").format == "LoRA (loralib), torch zip"


def test_loralib_factors_in_a_whole_state_dict_are_named(tmp_path: Path) -> None:
    block = trained([True, False, True])
    torch.save(block.state_dict(), tmp_path / "tuned.pt")
    torch.save(
        {key.removeprefix("h.0."): torch.from_numpy(t) for key, t in plain(block).items()},
        tmp_path / "base.pt",
    )
    (found,) = bp.diff(tmp_path / "base.pt", tmp_path / "tuned.pt").comparisons
    assert found.verdict == "identical"  # saved in training mode, so nothing is merged
    assert "loralib's factors of 3 modules" in found.tuned.notes[0]
