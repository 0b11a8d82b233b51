"""Adapters that don't fit, that are broken, or that need more than their tensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.builders import model, state, write

import bitfit_probe
from bitfit_probe.align import align
from bitfit_probe.checkpoint import Checkpoint, open_checkpoint
from bitfit_probe.errors import ShapesError, TargetsError, UnsupportedError


def written(folder: Path, tensors: dict[str, torch.Tensor], **config: Any) -> Path:
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "lora_alpha": 4} | config))
    return folder


def query(layer: str = "bert.encoder.layer.0", width: int = 32) -> dict[str, torch.Tensor]:
    stem = f"base_model.model.{layer}.attention.self.query.lora_"
    return {f"{stem}A.weight": torch.ones(2, width), f"{stem}B.weight": torch.ones(width, 2)}


@pytest.fixture
def base(tmp_path: Path) -> Checkpoint:
    return open_checkpoint(write(tmp_path / "base.safetensors", state("bert")))


def test_targets_that_match_nothing_name_one_and_what_the_base_has(tmp_path: Path, base: Checkpoint) -> None:
    adapter = written(
        tmp_path / "a",
        {
            "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": torch.ones(2, 32),
            "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight": torch.ones(32, 2),
        },
    )
    with pytest.raises(
        TargetsError, match=r"layers\.0\.self_attn\.q_proj\.weight.*has 'bert\..*weight'"
    ) as e:
        align(base, open_checkpoint(adapter))
    assert e.value.code == "BE203"


def test_a_base_of_another_width_is_said(tmp_path: Path, base: Checkpoint) -> None:
    adapter = written(tmp_path / "a", query(width=48))
    with pytest.raises(ShapesError, match=r"query\.weight"):
        align(base, open_checkpoint(adapter))


def test_one_target_of_many_that_is_absent_is_left_over(tmp_path: Path, base: Checkpoint) -> None:
    adapter = written(tmp_path / "a", query() | query("bert.encoder.layer.9"))
    alignment = align(base, open_checkpoint(adapter))
    (left,) = alignment.unmatched_tuned
    assert (left.name, left.why) == ("bert.encoder.layer.9.attention.self.query.weight", "absent")


def test_a_bare_base_takes_an_adapter_of_the_whole_model(tmp_path: Path) -> None:
    base = open_checkpoint(write(tmp_path / "bare.safetensors", state("bert-bare")))
    alignment = align(base, open_checkpoint(written(tmp_path / "a", query())))
    (pair,) = (pair for pair in alignment.pairs if pair.in_file)
    assert pair.base.name == "encoder.layer.0.attention.self.query.weight"
    # alpha / r = 2, and each element of B·A is 2.
    np.testing.assert_allclose(pair.tuned.values() - pair.base.values(), 4.0, rtol=1e-12)


def test_an_untrained_adapter_moves_nothing(tmp_path: Path) -> None:
    write(tmp_path / "base.safetensors", state("bert"))
    peft.get_peft_model(model("bert"), peft.LoraConfig(target_modules=["query"])).save_pretrained(
        tmp_path / "a"
    )
    (comparison,) = bitfit_probe.diff(tmp_path / "base.safetensors", tmp_path / "a").comparisons
    assert comparison.verdict == "adapter"
    assert comparison.summary.changed_tensors == 0
    assert comparison.summary.compared_tensors == 2
    assert comparison.summary.judged_by["not-in-file"] == len(state("bert")) - 2


def test_an_adapter_without_tensors_opens_and_changes_nothing(tmp_path: Path, base: Checkpoint) -> None:
    adapter = open_checkpoint(written(tmp_path / "a", {}))
    assert adapter.adapter is not None
    assert not adapter.tensors
    assert not any(pair.in_file for pair in align(base, adapter).pairs)
    binary = tmp_path / "b"
    binary.mkdir()
    torch.save({}, binary / "adapter_model.bin")
    (binary / "adapter_config.json").write_text((tmp_path / "a" / "adapter_config.json").read_text())
    assert not open_checkpoint(binary).tensors


def test_a_missing_or_empty_factor_is_incomplete(tmp_path: Path, base: Checkpoint) -> None:
    tensors = query() | query("bert.encoder.layer.1")
    del tensors["base_model.model.bert.encoder.layer.0.attention.self.query.lora_A.weight"]
    opened = open_checkpoint(written(tmp_path / "a", tensors)).adapter
    assert opened is not None
    assert opened.incomplete == ("bert.encoder.layer.0.attention.self.query",)
    assert list(opened.altered) == ["bert.encoder.layer.1.attention.self.query.weight"]


def test_without_its_configuration_the_scale_is_not_known(tmp_path: Path) -> None:
    adapter = written(tmp_path / "a", query())
    (adapter / "adapter_config.json").unlink()
    with pytest.raises(UnsupportedError, match=r"adapter_config\.json"):
        open_checkpoint(adapter)


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ({"peft_type": "VERA"}, "VERA"),
        ({"init_lora_weights": "pissa_niter_4"}, "pissa_niter_4"),
        ({"init_lora_weights": "olora"}, "olora"),
        ({"use_qalora": True}, "use_qalora"),
        ({"alpha_pattern": {"(a+)+b": 3}}, r"\(a\+\)\+b"),
        ({"lora_alpha": "8"}, "lora_alpha"),
    ],
)
def test_what_only_peft_can_apply_is_refused(tmp_path: Path, config: dict[str, Any], what: str) -> None:
    adapter = written(tmp_path / "a", query(), **config)
    with pytest.raises(UnsupportedError, match=what) as e:
        open_checkpoint(adapter)
    assert "merge_and_unload" in str(e.value)


def test_two_adapters_are_compared_as_they_are_stored(tmp_path: Path) -> None:
    one = open_checkpoint(written(tmp_path / "a", query()))
    moved = {name: tensor + 1 for name, tensor in query().items()}
    two = open_checkpoint(written(tmp_path / "b", moved))
    pairs = align(one, two).pairs
    assert [pair.tuned.values().max() - pair.base.values().max() for pair in pairs] == [1.0, 1.0]


def test_a_small_change_beside_a_coarse_base_is_no_rounding(tmp_path: Path) -> None:
    """B + s·B·A is applied at full precision: a change below bfloat16's step is a change."""
    write(tmp_path / "base.safetensors", {name: t.bfloat16() for name, t in state("bert").items()})
    tensors = {name: 1e-4 * tensor for name, tensor in query().items()}
    result = bitfit_probe.diff(tmp_path / "base.safetensors", written(tmp_path / "a", tensors))
    (row,) = (row for row in result.comparisons[0].tensors if row.judged_by == "compared")
    assert row.moved
    assert row.max_abs_delta == pytest.approx(4e-8, rel=1e-6)  # 2 · 2 · 1e-4²
    assert row.changed_fraction == row.above_rounding == 1.0


def test_a_trained_bias_of_an_adapter_is_in_the_roles(tmp_path: Path) -> None:
    write(tmp_path / "base.safetensors", state("bert"))
    adapted = peft.get_peft_model(model("bert"), peft.BeftConfig(target_modules=["value"]))
    adapted.save_pretrained(tmp_path / "a")
    path = tmp_path / "a" / "adapter_model.safetensors"
    save_file({name: torch.full_like(t, 0.25) for name, t in load_file(path).items()}, path)
    (comparison,) = bitfit_probe.diff(tmp_path / "base.safetensors", tmp_path / "a").comparisons
    assert comparison.adapter is not None
    assert (comparison.adapter.method, comparison.adapter.targets) == ("BEFT", ("value",))
    moved = {(role.role, role.layer): role.mean_abs_delta for role in comparison.roles if role.moved}
    assert moved == {("v", 0): pytest.approx(0.25), ("v", 1): pytest.approx(0.25)}
