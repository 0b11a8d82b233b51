"""Adapters by their factors: what s·B·A comes to, beside the dense matrices in float64."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file
from support.adapters import factors, write_lora

import bitfit_probe as bp
from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.comparison.updates import effective_rank, updates
from bitfit_probe.errors import NothingAlignsError
from bitfit_probe.rendering import headline

Q, V, UP = (
    f"model.layers.{layer}.{name}"
    for layer, name in ((0, "self_attn.q_proj"), (1, "self_attn.v_proj"), (1, "mlp.up_proj"))
)


def compared(base, tuned):
    (found,) = bp.diff(base, tuned).comparisons
    return found


def dense(pair, scale):
    a, b = (factor.astype(np.float64) for factor in pair)
    return scale * b @ a


def rotated(pair, seed=5):
    """Other factors of the same product: R·A and B·R⁻¹, in float32."""
    a, b = pair
    turn, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(a), len(a))))
    return (turn @ a).astype(np.float32), (b @ turn.T).astype(np.float32)


def test_figures_are_those_of_the_dense_matrices_whatever_the_ranks(tmp_path):
    first = {Q: factors(24, 16, 4, 0), V: factors(8, 16, 4, 1)}
    second = {Q: factors(24, 16, 6, 2), V: (first[V][0] * 1.5, first[V][1])}
    found = compared(
        write_lora(tmp_path / "a", first),  # s = 8/4
        write_lora(tmp_path / "b", second, r=6, lora_alpha=3, rank_pattern={"v_proj": 4}),  # s = 3/6 and 3/4
    )
    assert found.verdict == "adapter"
    assert [row.name for row in found.updates] == [f"{Q}.weight", f"{V}.weight"]
    for row, scale in zip(found.updates, (0.5, 0.75), strict=True):
        name = row.name.removesuffix(".weight")
        ours, theirs = dense(first[name], 2.0), dense(second[name], scale)
        values = np.linalg.svd(theirs - ours, compute_uv=False)
        assert row.state == "moved"
        assert row.shape == ours.shape
        assert row.base_norm == pytest.approx(np.linalg.norm(ours), rel=1e-12)
        assert row.tuned_norm == pytest.approx(np.linalg.norm(theirs), rel=1e-12)
        assert row.delta_norm == pytest.approx(np.linalg.norm(theirs - ours), rel=1e-12)
        assert row.relative == pytest.approx(np.linalg.norm(theirs - ours) / np.linalg.norm(ours), rel=1e-12)
        cosine = np.vdot(ours, theirs) / np.linalg.norm(ours) / np.linalg.norm(theirs)
        assert row.cosine == pytest.approx(cosine, abs=1e-12)
        assert row.delta_rank == pytest.approx(effective_rank(values[values > 1e-9]), rel=1e-6)
    assert [row.ranks for row in found.updates] == [(4, 6), (4, 4)]
    by_name = {row.name: row for row in found.tensors}
    assert by_name[f"{V}.weight"].l2_delta == found.updates[1].delta_norm
    assert by_name[f"{V}.weight"].mean_abs_delta is None  # that takes the elements, which are not formed


def test_a_small_step_is_told_although_norms_alone_could_not(tmp_path):
    """‖ΔW‖² ± 1e-14 would hide a relative step of 1e-7, which float32 factors hold."""
    a, b = factors(64, 48, 4, 3)
    step = b.copy()
    step[5, 1] += np.float32(1e-3)
    found = compared(write_lora(tmp_path / "a", {Q: (a, b)}), write_lora(tmp_path / "b", {Q: (a, step)}))
    (row,) = found.updates
    assert row.state == "moved"
    expected = 2.0 * float(step[5, 1] - b[5, 1]) * np.linalg.norm(a[1].astype(np.float64))
    assert row.delta_norm == pytest.approx(expected, rel=1e-9)
    assert row.delta_rank == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_other_factors_of_one_product_are_the_same_adapter(tmp_path, seed):
    pair = factors(96, 64, 8, seed)
    halved = pair[0] * np.float32(2), pair[1] / np.float32(2)
    modules = {Q: pair, V: pair, UP: pair}
    turned = {Q: rotated(pair, seed), V: halved, UP: pair}
    found = compared(write_lora(tmp_path / "a", modules), write_lora(tmp_path / "b", turned))
    states = {row.name.removesuffix(".weight"): row.state for row in found.updates}
    assert states == {Q: "same-product", V: "same-product", UP: "same"}
    assert found.verdict == "rounding-only"
    assert headline(found) == (
        "The same adapter twice (LoRA of rank 8): none of 3 modules moved on, "
        "2 have the same ΔW by other factors."
    )
    assert all(row.moved is False for row in found.tensors)


def test_equal_factors_are_identical_and_another_alpha_is_not(tmp_path):
    modules = {Q: factors(24, 16, 4, 0)}
    a = write_lora(tmp_path / "a", modules)
    same = compared(a, write_lora(tmp_path / "b", modules))
    assert same.verdict == "identical"
    assert headline(same) == "The same adapter twice (LoRA of rank 4): 1 module, bit for bit."
    (row,) = compared(a, write_lora(tmp_path / "c", modules, lora_alpha=16)).updates
    assert (row.state, row.relative, row.cosine) == ("moved", pytest.approx(1.0), pytest.approx(1.0))


def test_what_only_one_of_them_changes_and_what_is_stored_are_told(tmp_path):
    pair, bias = factors(24, 16, 4, 0), np.zeros(24, np.float32)
    a = write_lora(tmp_path / "a", {Q: pair, V: pair}, {f"{Q}.bias": bias}, bias="lora_only")
    b = write_lora(tmp_path / "b", {Q: pair, UP: pair}, {f"{Q}.bias": bias + 1}, bias="lora_only")
    found = compared(a, b)
    assert [item.name for item in found.unmatched_base] == [f"{V}.weight"]
    assert [item.name for item in found.unmatched_tuned] == [f"{UP}.weight"]
    assert found.verdict == "adapter"
    assert headline(found) == (
        "Two adapters (LoRA of rank 4): none of 1 module moved on, 1 of 1 other tensor moved, "
        "1 tensor only in the first, 1 tensor only in the second."
    )


def test_magnitudes_are_compared_beside_the_factors(tmp_path):
    pair, size = factors(24, 16, 4, 0), np.ones(24, np.float32)
    name = f"{Q}.lora_magnitude_vector"
    a = write_lora(tmp_path / "a", {Q: pair}, {name: size}, use_dora=True)
    b = write_lora(tmp_path / "b", {Q: pair}, {name: size * 2}, use_dora=True)
    found = compared(a, b)
    assert [(row.name, row.moved) for row in found.tensors] == [(f"{Q}.weight", False), (name, True)]
    assert found.verdict == "adapter"


def test_trained_rows_are_held_against_rows_of_the_same_numbers(tmp_path):
    pair, rows = factors(24, 16, 4, 0), np.ones((2, 16), np.float32)
    name = "model.embed_tokens.token_adapter.trainable_tokens_delta"

    def adapter(folder, numbers, values):
        return write_lora(tmp_path / folder, {Q: pair}, {name: values}, trainable_token_indices=numbers)

    base = adapter("a", [5, 6], rows)
    moved = compared(base, adapter("b", [5, 6], rows * 2))
    assert [row.moved for row in moved.tensors if row.name == "model.embed_tokens.weight"] == [True]
    apart = compared(base, adapter("c", [5, 7], rows))
    assert [item.name for item in apart.unmatched_tuned] == ["model.embed_tokens.weight"]


def test_factors_that_are_not_finite_have_no_figures_and_are_counted(tmp_path):
    a, b = factors(24, 16, 4, 0)
    broken = b.copy()
    broken[0, 0] = np.nan
    found = compared(write_lora(tmp_path / "a", {Q: (a, b)}), write_lora(tmp_path / "b", {Q: (a, broken)}))
    (row,) = found.updates
    assert (row.state, row.delta_norm, row.cosine) == ("moved", None, None)
    assert found.tensors[0].nonfinite_tuned == 1
    assert headline(found).endswith("1 tensor of it holds NaN or infinite values!")


def test_an_adapter_is_no_base_of_a_model(tmp_path):
    adapter = write_lora(tmp_path / "a", {Q: factors(24, 16, 4, 0)})
    save_file({f"{Q}.weight": np.zeros((24, 16), np.float32)}, tmp_path / "m.safetensors")
    with pytest.raises(NothingAlignsError, match="give the model that the adapter was trained on as BASE"):
        bp.diff(adapter, tmp_path / "m.safetensors")


def test_an_adapter_alone_in_figures(tmp_path):
    a, b = factors(24, 16, 4, 0)
    rank_two = a, b * np.array([1, 1, 0, 0], np.float32)
    path = write_lora(tmp_path / "a", {Q: (a, b), V: (a, np.zeros_like(b)), UP: rank_two})
    q, up, v = updates(open_checkpoint(path))
    values = np.linalg.svd(dense((a, b), 2.0), compute_uv=False)
    assert (q.info.role, q.info.layer, q.rank, q.scale) == ("q", 0, 4, 2.0)
    assert q.norm == pytest.approx(np.linalg.norm(values), rel=1e-12)
    assert q.spectral_norm == pytest.approx(values[0], rel=1e-12)
    assert q.effective_rank == pytest.approx(effective_rank(values[:4]), rel=1e-9)
    assert (v.b_is_zero, v.at_rest, v.norm, v.effective_rank) == (True, True, 0.0, 0.0)
    assert not q.b_is_zero
    assert up.effective_rank == pytest.approx(
        effective_rank(np.linalg.svd(dense(rank_two, 2.0), compute_uv=False)[:2]), rel=1e-9
    )


def test_likeness_of_adapters_of_one_base_is_the_cosine_of_their_updates(tmp_path):
    base = {f"{name}.weight": np.ones((24, 16), np.float32) for name in (Q, V)}
    save_file(base, tmp_path / "base.safetensors")
    runs = [
        {Q: factors(24, 16, 4, 0), V: factors(24, 16, 4, 1)},
        {Q: factors(24, 16, 2, 2)},  # leaves V alone
        {Q: rotated(factors(24, 16, 4, 0)), V: factors(24, 16, 4, 3)},
    ]
    paths = [write_lora(tmp_path / f"run-{at}", run, lora_alpha=4) for at, run in enumerate(runs)]
    found = {item.role: item for item in bp.report(tmp_path / "base.safetensors", *paths).likeness}
    zero = np.zeros((24, 16))
    whole = [
        np.concatenate([dense(run[name], 4 / len(run[name][0])) if name in run else zero for name in (Q, V)])
        for run in runs
    ]
    expected = [[np.vdot(a, b) / np.linalg.norm(a) / np.linalg.norm(b) for b in whole] for a in whole]
    assert found[None].of == "updates"
    assert np.array(found[None].cosine) == pytest.approx(np.array(expected), abs=1e-6)
    assert found["q"].cosine[0][2] == pytest.approx(1.0, abs=1e-6)
    assert found["v"].cosine[1] == (None, None, None)


def test_biases_only_says_that_factors_were_not_checked(tmp_path):
    pair = factors(24, 16, 4, 0)
    a = write_lora(tmp_path / "a", {Q: pair})
    (found,) = bp.diff(a, write_lora(tmp_path / "b", {Q: pair}), biases_only=True).comparisons
    assert found.verdict == "adapter"  # not known to be the same
    assert headline(found) == "Two adapters (LoRA of rank 4): 1 tensor not checked."


def test_several_beside_an_adapter_are_not_likened_by_biases_that_they_lack(tmp_path):
    paths = [write_lora(tmp_path / f"{at}", {Q: factors(24, 16, 4, at)}) for at in range(3)]
    assert bp.report(*paths).likeness == ()
