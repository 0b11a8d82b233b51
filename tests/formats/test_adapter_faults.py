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
from bitfit_probe.errors import AmbiguousError, ShapesError, TargetsError, UnsupportedError
from bitfit_probe.rendering import headline


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
        ({"peft_type": "BOFT"}, "BOFT"),
        ({"init_lora_weights": "pissa_niter_4"}, "pissa_niter_4"),
        ({"init_lora_weights": "olora"}, "olora"),
        ({"use_qalora": True}, "use_qalora"),
        ({"alpha_pattern": {"(?=q)query": 3}}, r"alpha_pattern .* look-ahead in .*\(\?=q\)query"),
        ({"peft_type": "IA3", "feedforward_modules": "(q)\\1"}, "feedforward_modules .* backreference"),
        ({"lora_alpha": "8"}, "lora_alpha"),
        ({"lora_alpha": 10**400}, "lora_alpha"),
        ({"lora_alpha": 1e308}, "lora_alpha"),
        ({"lora_alpha": float("nan")}, "lora_alpha"),
    ],
)
def test_what_only_peft_can_apply_is_refused(tmp_path: Path, config: dict[str, Any], what: str) -> None:
    base = open_checkpoint(write(tmp_path / "base.safetensors", state("bert")))
    adapter = written(tmp_path / "a", query(), **config)
    with pytest.raises(UnsupportedError, match=what) as e:
        align(base, open_checkpoint(adapter))
    assert "merge_and_unload" in str(e.value)


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


def test_a_tied_head_is_altered_as_the_embedding_that_it_is(tmp_path: Path) -> None:
    source = {name: t for name, t in state("gpt2").items() if name != "lm_head.weight"}
    base = open_checkpoint(write(tmp_path / "base.safetensors", source))
    stem = "base_model.model.lm_head.lora_"
    factors = {f"{stem}A.weight": torch.ones(2, 32), f"{stem}B.weight": torch.ones(64, 2)}
    alignment = align(base, open_checkpoint(written(tmp_path / "a", factors)))
    (pair,) = (pair for pair in alignment.pairs if pair.in_file)
    assert (pair.base.name, pair.info.kind) == ("lm_head.weight", "head")
    want = source["transformer.wte.weight"].double().numpy() + 4
    np.testing.assert_allclose(pair.tuned.values(), want, rtol=1e-12)
    assert any(pair.base.name == "transformer.wte.weight" and not pair.in_file for pair in alignment.pairs)


def test_two_adapters_in_one_file_are_ambiguous(tmp_path: Path) -> None:
    tensors = {
        name.replace("lora_A.", f"lora_A.{adapter}."): t for adapter in "xy" for name, t in query().items()
    }
    with pytest.raises(AmbiguousError, match="several adapters"):
        open_checkpoint(written(tmp_path / "a", tensors))


def test_multi_head_attention_keeps_its_inputs_in_one_matrix(tmp_path: Path) -> None:
    torch.manual_seed(0)

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = torch.nn.MultiheadAttention(8, 2)
            self.fc = torch.nn.Linear(8, 3)

    plain = Model()
    before = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    adapted = peft.get_peft_model(plain, peft.LoraConfig(r=2, target_modules=["attention"]))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.add_(0.05 * torch.randn_like(parameter))
    adapted.save_pretrained(tmp_path / "a")
    merged = adapted.merge_and_unload().state_dict()
    base = open_checkpoint(write(tmp_path / "base.safetensors", before))
    alignment = align(base, open_checkpoint(tmp_path / "a"))
    assert {pair.base.name for pair in alignment.pairs if pair.in_file} == {
        "attention.in_proj_weight",
        "attention.out_proj.weight",
    }
    for pair in alignment.pairs:
        want = merged[pair.base.name].double().numpy()
        if pair.base.name == "attention.out_proj.weight":
            # MultiheadAttention.merge of peft 0.21 adds s·B·A twice: once itself, once by out_proj.merge.
            want = (want + before[pair.base.name].double().numpy()) / 2
        if pair.part is None:
            np.testing.assert_allclose(pair.tuned.values(), want, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("named", "inputs"), [(r".*\.output\.dense", True), (["dense"], True), ("dense", False)]
)
def test_a_square_scaling_is_of_inputs_where_its_module_is_feed_forward(
    tmp_path: Path, named: str | list[str], inputs: bool
) -> None:
    vector = {"base_model.model.bert.encoder.layer.0.output.dense.ia3_l": torch.ones(1, 1)}
    adapter = open_checkpoint(
        written(tmp_path / "a", vector, peft_type="IA3", feedforward_modules=named)
    ).adapter
    assert adapter is not None
    # Outputs scale the bias as well.
    assert ("bert.encoder.layer.0.output.dense.bias" in adapter.altered) == (not inputs)


def test_rows_of_an_embedding_go_by_the_end_of_its_name(tmp_path: Path) -> None:
    rows = {"base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta": torch.ones(2, 4)}
    given = {"lm_head": [7], "(a|.)*" * 36: [9], "embed_tokens": [3, 5]}
    adapter = open_checkpoint(written(tmp_path / "a", rows, trainable_token_indices=given)).adapter
    assert adapter is not None
    assert adapter.altered["model.embed_tokens.weight"].shape == (6, 4)


def test_ranks_that_the_configuration_does_not_tell_are_named(tmp_path: Path) -> None:
    """As add_weighted_adapter leaves them: peft refuses to load the file (huggingface/peft#3737)."""
    stem = "base_model.model.model.layers.0.self_attn"
    tensors = {
        f"{stem}.{name}.lora_{key}.weight": torch.ones(shape)
        for name, rank in (("q_proj", 8), ("v_proj", 4))
        for key, shape in (("A", (rank, 16)), ("B", (16, rank)))
    }
    adapter = open_checkpoint(written(tmp_path / "a", tensors, r=8, lora_alpha=8))
    assert adapter.adapter is not None
    assert adapter.adapter.misranked == {"model.layers.0.self_attn.v_proj": (8, 4)}
    assert "v_proj: 4 instead of 8): peft refuses to load it" in adapter.notes[0]
    told = written(tmp_path / "b", tensors, r=8, lora_alpha=8, rank_pattern={"v_proj": 4})
    assert open_checkpoint(told).notes == ()


def test_biases_of_a_lora_on_a_base_without_are_named(tmp_path: Path) -> None:
    stem = "model.layers.0.self_attn.q_proj"
    write(tmp_path / "base.safetensors", {f"{stem}.weight": torch.ones(16, 16)})
    tensors = {
        f"base_model.model.{stem}.lora_A.weight": torch.ones(4, 16),
        f"base_model.model.{stem}.lora_B.weight": torch.ones(16, 4),
        f"base_model.model.{stem}.lora_B.bias": torch.ones(16),
    }
    adapter = written(tmp_path / "a", tensors, r=4, lora_bias=True)
    (found,) = bitfit_probe.diff(tmp_path / "base.safetensors", adapter).comparisons
    assert headline(found) == (
        "Adapter: LoRA of rank 4 on q_proj; 1 of its 1 tensor moved, "
        "1 bias of it that the base has no tensor for, so that peft can't merge it."
    )


def test_token_rows_are_rows_of_their_table_and_no_target(tmp_path: Path) -> None:
    base = {
        "model.embed_tokens.weight": torch.ones(8, 4),
        "model.layers.0.self_attn.q_proj.weight": torch.ones(4, 4),
    }
    write(tmp_path / "base.safetensors", base)
    stem = "base_model.model.model"
    tensors = {
        f"{stem}.layers.0.self_attn.q_proj.lora_A.weight": torch.ones(2, 4),
        f"{stem}.layers.0.self_attn.q_proj.lora_B.weight": torch.ones(4, 2),
        f"{stem}.embed_tokens.token_adapter.trainable_tokens_delta": torch.zeros(3, 4),
    }
    adapter = written(tmp_path / "a", tensors, r=2, trainable_token_indices=[1, 2, 5])
    (found,) = bitfit_probe.diff(tmp_path / "base.safetensors", adapter).comparisons
    assert found.adapter is not None
    assert (found.adapter.targets, found.adapter.modules) == (("q_proj",), 1)
    assert found.adapter.rows == {"model.embed_tokens.weight": 3}
    assert (
        headline(found)
        == "Adapter: LoRA of rank 2 on q_proj; 3 rows of embed_tokens; 2 of its 2 tensors moved."
    )
