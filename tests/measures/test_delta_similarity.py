"""Which checkpoints moved alike, and the planted odd one out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.builders import biases, copied, state, write
from support.reporting import described

from bitfit_probe.measures.delta_similarity import ODD_GAP, odd_one_out


def runs(*shares, seed=0):
    """A base and runs whose bias deltas are (shared direction) · share + own direction · √(1 − share²)."""
    base, draw = state("bert"), torch.Generator().manual_seed(seed)
    shared = {name: torch.randn(base[name].shape, generator=draw) for name in biases(base)}
    out = [base]
    for share in shares:
        tuned = copied(base)
        for name in biases(base):
            own = torch.randn(base[name].shape, generator=draw)
            tuned[name] += 0.05 * (share * shared[name] + (1 - share**2) ** 0.5 * own)
        out.append(tuned)
    return out


def likeness(folder, states):
    number = len(list(folder.iterdir()))
    paths = [write(folder / f"{number}-{i}.safetensors", side) for i, side in enumerate(states)]
    return described(*paths).likeness


def test_cosines_are_those_of_the_deltas_end_to_end(tmp_path):
    base, *tuned = runs(0.9, 0.8, 0.7)
    found = likeness(tmp_path, [base, *tuned])
    roles = {item.role: item for item in found}
    counted = [name for name in biases(base) if "key" not in name]  # BERT's key bias has no effect
    for role, part in (
        (None, ""),
        ("q", "query"),
        ("m2", "intermediate"),
        ("LN1", "attention.output.LayerNorm"),
    ):
        names = [name for name in counted if part in name]
        deltas = [
            np.concatenate([(side[name].double() - base[name].double()).numpy() for name in names])
            for side in tuned
        ]
        expected = [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in deltas] for a in deltas]
        assert np.array(roles[role].cosine) == pytest.approx(np.array(expected), abs=1e-9)
    assert "k" not in roles
    assert found[0].role is None


def test_the_planted_odd_one_is_found_wherever_it_stands(tmp_path):
    for place in range(4):
        shares = [0.9] * 4
        shares[place] = 0.0
        found = likeness(tmp_path, runs(*shares))
        assert found[0].odd_one_out == place


def test_nobody_stands_out_among_like_ones_nor_among_strangers(tmp_path):
    for shares in ((0.9, 0.9, 0.9), (0.0, 0.0, 0.0), (0.9, 0.85, 0.8, 0.9)):
        assert likeness(tmp_path, runs(*shares))[0].odd_one_out is None


def test_two_have_no_odd_one(tmp_path):
    found = likeness(tmp_path, runs(0.9, 0.0))
    assert found[0].odd_one_out is None
    assert len(found[0].cosine) == 2


def test_one_role_may_have_another_odd_one(tmp_path):
    base, *tuned = runs(0.95, 0.95, 0.95)
    draw = torch.Generator().manual_seed(9)
    for name in biases(base):
        if "intermediate" in name:
            tuned[1][name] = base[name] + 0.05 * torch.randn(base[name].shape, generator=draw)
    found = {item.role: item.odd_one_out for item in likeness(tmp_path, [base, *tuned])}
    assert found["m2"] == 1
    assert found["q"] is None


def test_one_that_did_not_move_has_no_cosine(tmp_path):
    base, *tuned = runs(0.9, 0.9, 0.9)
    tuned[1] = {name: tensor.clone() for name, tensor in base.items()}
    everything = likeness(tmp_path, [base, *tuned])[0]
    assert everything.cosine[1] == (None, None, None)
    assert everything.cosine[0][1] is None
    assert everything.cosine[0][2] is not None


def test_rounding_is_no_movement(tmp_path):
    """Two casts to bfloat16 round alike; that is no likeness of training."""
    base = state("bert")
    cast = {name: tensor.bfloat16() for name, tensor in base.items()}
    assert likeness(tmp_path, [base, cast, cast])[0].cosine == ((None, None), (None, None))


def test_names_may_differ_between_the_tuned(tmp_path):
    base, one, two = runs(0.9, 0.9)
    wrapped = {f"module.{name}": tensor for name, tensor in two.items()}
    assert (
        likeness(tmp_path, [base, one, two])[0].cosine == likeness(tmp_path, [base, one, wrapped])[0].cosine
    )


@pytest.mark.parametrize("base_is_fused", [True, False])
def test_fused_and_split_projections_are_the_same_biases(base_is_fused, tmp_path):
    """MultiheadAttention of torch keeps q, k and v in one bias; others keep three."""
    draw = torch.Generator().manual_seed(5)

    def fused(bias):
        return {
            "layers.0.self_attn.in_proj_weight": torch.eye(12, 4),
            "layers.0.self_attn.in_proj_bias": bias,
        }

    def split(bias):
        names = [f"layers.0.self_attn.{role}_proj" for role in "qkv"]
        weights = zip(names, torch.eye(12, 4).chunk(3), strict=True)
        return {f"{name}.weight": part.clone() for name, part in weights} | {
            f"{name}.bias": part.clone() for name, part in zip(names, bias.chunk(3), strict=True)
        }

    base, one, two = torch.randn(3, 12, generator=draw).cumsum(0)
    build = fused if base_is_fused else split
    found = likeness(tmp_path, [build(base), fused(one), split(two)])
    a, b = ((side.double() - base.double()).numpy() for side in (one, two))
    assert found[0].cosine[0][1] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), rel=1e-9)
    assert [item.role for item in found] == [None, "q", "k", "v"]


COSINES = st.integers(3, 6).flatmap(
    lambda n: st.lists(st.lists(st.floats(-1, 1), min_size=n, max_size=n), min_size=n, max_size=n)
)


@given(COSINES)
def test_the_rule_follows_the_order_of_the_checkpoints(matrix):
    matrix = np.array(matrix)
    matrix = (matrix + matrix.T) / 2
    np.fill_diagonal(matrix, 1.0)
    backwards = odd_one_out(matrix[::-1, ::-1].tolist(), ODD_GAP)
    found = odd_one_out(matrix.tolist(), ODD_GAP)
    assert backwards == (None if found is None else len(matrix) - 1 - found)


def test_the_rule_takes_its_gap():
    matrix = [[1, 0.9, 0.6], [0.9, 1, 0.6], [0.6, 0.6, 1]]
    assert odd_one_out(matrix, 0.29) == 2
    assert odd_one_out(matrix, 0.31) is None
