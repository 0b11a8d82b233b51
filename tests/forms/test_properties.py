"""Whatever the figures of a form are, they come back; and a trained tensor never gets a special form."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.forms import by_name

NAME = "encoder.layer.0.attention.self.query.weight"
SEEDS = st.integers(0, 2**31)
SIDES = st.integers(24, 96)
EXAMPLES = settings(max_examples=25, deadline=None)


def form_of(base, tuned):
    """The form of one matrix."""
    with tempfile.TemporaryDirectory() as folder:
        sides = ({NAME: torch.from_numpy(side.astype(np.float32))} for side in (base, tuned))
        return by_name(Path(folder), *sides)[NAME]


def matrix(seed, rows, columns):
    return 0.02 * np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)


@EXAMPLES
@given(SEEDS, SIDES, SIDES, st.floats(-3, 3).filter(lambda a: abs(a - 1) > 1e-4 and abs(a) > 1e-3))
def test_factors(seed, rows, columns, alpha):
    base = matrix(seed, rows, columns)
    form = form_of(base, alpha * base)
    assert form.name == "constant factor"
    assert abs(form.parameters["factor"] - alpha) <= 1e-6 * abs(alpha)


@EXAMPLES
@given(SEEDS, SIDES, SIDES, st.floats(1e-5, 1).flatmap(lambda c: st.sampled_from([c, -c])))
def test_shifts(seed, rows, columns, shift):
    base = matrix(seed, rows, columns)
    form = form_of(base, base + np.float32(shift))
    assert form.name == "constant shift"
    assert abs(form.parameters["shift"] - shift) <= 1e-3 * abs(shift)


@EXAMPLES
@given(SEEDS, SIDES, SIDES, st.integers(1, 6))
def test_ranks(seed, rows, columns, rank):
    draw = np.random.default_rng(seed + 1)
    base = matrix(seed, rows, columns)
    update = 0.01 * draw.standard_normal((rows, rank)) @ draw.standard_normal((rank, columns))
    form = form_of(base, base + update)
    assert (form.name, form.parameters.get("rank")) == ("rank", rank)


@EXAMPLES
@given(SEEDS, SIDES, SIDES, st.data())
def test_a_few_rows(seed, rows, columns, data):
    base = matrix(seed, rows, columns)
    moved = data.draw(st.lists(st.integers(0, rows - 1), min_size=1, max_size=rows // 4, unique=True))
    tuned = base.copy()
    tuned[moved] += 0.01 * np.random.default_rng(seed + 1).standard_normal((len(moved), columns))
    form = form_of(base, tuned)
    assert (form.name, form.parameters.get("count")) == ("few rows", len(moved))


@EXAMPLES
@given(SEEDS, SIDES, SIDES, st.sampled_from([0, 1]))
def test_orders(seed, rows, columns, axis):
    base = matrix(seed, rows, columns)
    count = base.shape[axis]
    order = np.random.default_rng(seed + 1).permutation(count)
    tuned = np.take(base, order, axis)
    form = form_of(base, tuned)
    assert (form.name, form.parameters.get("axis")) == ("permuted", ("rows", "columns")[axis])
    assert form.residual == 0


@EXAMPLES
@given(SEEDS, SIDES, SIDES, st.floats(0.005, 0.05))
def test_cuts(seed, rows, columns, end):
    base = matrix(seed, rows, columns)
    cut = np.clip(base, -np.float32(end), np.float32(end))
    share = float(np.mean(cut != base))
    form = form_of(base, cut) if share else None
    if form is not None and 0.01 < share <= 0.5:
        assert form.name == "clipped"
        assert form.parameters["high"] == np.float32(end)


@EXAMPLES
@given(
    SEEDS,
    st.integers(8, 96),
    st.integers(8, 96),
    st.floats(-5, -1),
    st.sampled_from(["float32", "bfloat16", "float16"]),
    st.sampled_from(["normal", "signs", "drift"]),
)
def test_a_trained_tensor_is_never_given_a_special_form(seed, rows, columns, power, dtype, steps):
    """Steps of Adam: normal ones, all of one size, or with a mean; down to what the type rounds away."""
    base = torch.from_numpy(matrix(seed, rows, columns))
    draw = np.random.default_rng(seed + 1)
    move = draw.standard_normal(base.shape)
    move = np.sign(move) if steps == "signs" else move + 0.3 if steps == "drift" else move
    tuned = base.to(getattr(torch, dtype)).float() + torch.from_numpy(10**power * move).float()
    sides = [{NAME: side.to(getattr(torch, dtype))} for side in (base, tuned)]
    with tempfile.TemporaryDirectory() as folder:
        assert by_name(Path(folder), *sides)[NAME].name in ("trained", "at rest")
