"""NF4's loss in plain weights: a base that went through it is told from training, alone and under a merge."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.adapters import factors, write_lora
from support.checking import run_rules

import bitfit_probe as bp
from benchmarks.unpacking import packed
from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.checkpoint.quantised.nf4 import LEVELS, through_nf4
from bitfit_probe.checkpoint.storage.dtypes import BY_NAME
from bitfit_probe.rendering import headline
from bitfit_probe.rendering.summary import diff_document

RECORDED = Path(__file__).parent / "recorded" / "quantised"
Q, K = (f"model.layers.0.self_attn.{name}_proj" for name in "qk")


@pytest.mark.parametrize("name", ["nf4-double", "bits4"])
def test_it_is_what_bitsandbytes_makes_of_the_weights(name: str) -> None:
    """A packed weight is its own fixed point; of `source` it is known what was packed."""
    packed = open_checkpoint(RECORDED / name)
    source = load_file(RECORDED / "source.safetensors") if name == "nf4-double" else {}
    found = [tensor for tensor in packed.tensors.values() if tensor.dtype.name == "nf4"]
    assert found
    for tensor in found:
        values = tensor.values().reshape(-1)
        whole = len(values) // 64 * 64
        # transformers loads in bfloat16 where nothing else is asked for, and packs that
        before = (
            BY_NAME["bfloat16"].round(source[tensor.name].astype(np.float64).reshape(-1))
            if source
            else values
        )
        blocks, wanted = before[:whole].reshape(-1, 64), values[:whole].reshape(-1, 64)
        np.testing.assert_allclose(
            through_nf4(blocks, wanted), wanted, rtol=0, atol=1e-6 * np.abs(wanted).max()
        )


def slow(weight: np.ndarray) -> np.ndarray:
    """NF4 by its definition: the nearest level of each element."""
    blocks = weight.astype(np.float64).reshape(-1, 64)
    largest = np.abs(blocks).max(axis=1, keepdims=True)
    near = np.abs(blocks[..., None] / largest[..., None] - LEVELS).argmin(axis=-1)
    return (LEVELS[near] * largest).reshape(weight.shape).astype(np.float32)


def weights(seed: int = 0) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    return {f"{name}.weight": draw.standard_normal((96, 128)).astype(np.float32) for name in (Q, K)}


def saved(path: Path, tensors: dict[str, np.ndarray]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    return path


def test_a_dequantised_copy_has_its_form_and_a_warning(tmp_path: Path) -> None:
    base = weights()
    plain = saved(tmp_path / "base.safetensors", base)
    through = saved(tmp_path / "tuned.safetensors", {name: slow(value) for name, value in base.items()})
    (measured,) = bp.report(plain, through).measured
    assert measured.forms is not None
    assert [(row.name, row.says) for row in measured.forms.rows if row] == [
        ("dequantised", "the base through NF4")
    ] * 2
    (found,) = (item for item in run_rules(plain, through).findings if item.code == "BP309")
    assert "the loss of a quantised copy" in found.message


def test_a_change_of_that_size_that_is_training_has_not(tmp_path: Path) -> None:
    base = weights()
    draw = np.random.default_rng(1)
    tuned = {
        name: value + (0.09 * draw.standard_normal(value.shape)).astype(np.float32)
        for name, value in base.items()
    }
    paths = saved(tmp_path / "base.safetensors", base), saved(tmp_path / "tuned.safetensors", tuned)
    (measured,) = bp.report(*paths).measured
    assert measured.forms is not None
    assert {row.name for row in measured.forms.rows if row} == {"trained"}


@pytest.mark.parametrize("onto", ["plain", "dequantised"])
def test_merges_onto_plain_and_onto_dequantised_weights_are_told_apart(tmp_path: Path, onto: str) -> None:
    """Huggingface's and unsloth's ways to merge a QLoRA (unslothai/unsloth-zoo#810)."""
    base, (a, b) = weights(), factors(96, 128, 4, 3)
    a, b = a * np.float32(0.05), b * np.float32(0.05)
    update = (2 * b.astype(np.float64) @ a).astype(np.float32)  # s = 8 / 4
    tuned = dict(base)
    tuned[f"{Q}.weight"] = (
        slow(base[f"{Q}.weight"]) if onto == "dequantised" else base[f"{Q}.weight"]
    ) + update
    plain = saved(tmp_path / "base.safetensors", base)
    write_lora(tmp_path / "tuned", {Q: (a, b)})
    saved(tmp_path / "tuned" / "model.safetensors", tuned)
    said = [item for item in run_rules(plain, tmp_path / "tuned").findings if item.code.startswith("BP5")]
    if onto == "plain":
        assert said == []
    else:
        assert [(item.code, item.severity) for item in said] == [("BP512", "info")]
        assert "on top of what NF4 makes of the base" in said[0].message


@pytest.mark.parametrize(
    ("onto", "size", "said"),
    [
        ("plain", 0.1, ["BP512 info"]),
        ("plain", 0.0, ["BP512 error"]),
        ("dequantised", 0.1, []),
        ("dequantised", 0.0, ["BP512 error"]),
    ],
)
def test_of_a_packed_base_it_is_told_what_was_merged_onto(
    tmp_path: Path, onto: str, size: float, said: list[str]
) -> None:
    """The update, 0.08 of the weights, is smaller than NF4's steps; what has none is unmerged."""
    packed(tmp_path / "base.safetensors", 256, 256)
    base = open_checkpoint(tmp_path / "base.safetensors").tensors
    (name,) = base
    # As `packed` draws the weights that it packs.
    drawn = np.random.default_rng(0).standard_normal((1024, 64), np.float32).reshape(256, 256)
    before = drawn if onto == "plain" else base[name].values().astype(np.float32)
    a, b = factors(256, 256, 4, 3)
    a, b = a * np.float32(0.2), b * np.float32(0.1)
    write_lora(tmp_path / "tuned", {name.removesuffix(".weight"): (a, b)})
    update = (2 * b.astype(np.float64) @ a).astype(np.float32)
    saved(tmp_path / "tuned" / "model.safetensors", {name: before + np.float32(size > 0) * update})
    findings = run_rules(tmp_path / "base.safetensors", tmp_path / "tuned").findings
    assert [f"{item.code} {item.severity}" for item in findings if item.code.startswith("BP5")] == said


def test_what_quantising_lost_is_said_and_listed() -> None:
    source = RECORDED / "source.safetensors"
    (found,) = bp.diff(source, RECORDED / "nf4-double").comparisons
    rows = [row for row in found.tensors if row.tuned_dtype == "nf4"]
    lost = math.hypot(*(row.l2_delta or 0.0 for row in rows)) / math.hypot(
        *(row.base_l2 or 0.0 for row in rows)
    )
    assert found.summary.quantisation_loss == pytest.approx(lost, rel=1e-12)
    assert headline(found).endswith("quantised (NF4), which lost 9 % of its matrices' length.")
    (table,) = (
        block
        for block in diff_document(bp.report(source, RECORDED / "nf4-double")).lead
        if getattr(block, "key", "") == "loss"
    )
    assert [row[0] for row in table.rows] == [
        row.name for row in sorted(rows, key=lambda row: -(row.relative_l2 or 0.0))
    ]
    (same,) = bp.diff(source, source).comparisons
    assert same.summary.quantisation_loss is None
