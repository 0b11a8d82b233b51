"""Every figure of a TensorDelta against float64 numpy written independently of the kernel."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.builders import compare, row, toy

from bitfit_probe.align import TensorPair
from bitfit_probe.checkpoint.storage.dtypes import BY_NAME
from bitfit_probe.checkpoint.storage.tensor import MemoryStorage, Tensor
from bitfit_probe.comparison import _figures, stream
from bitfit_probe.comparison.kernel import BLOCK
from bitfit_probe.records import TensorInfo

DTYPES = {
    name: getattr(torch, name)
    for name in (
        "float64",
        "float32",
        "float16",
        "bfloat16",
        "int64",
        "int32",
        "int16",
        "int8",
        "uint8",
        "bool",
    )
}
ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
SUBNORMAL = {"float64": 2.0**-1074, "float32": 2.0**-149, "float16": 2.0**-24, "bfloat16": 2.0**-133}


def windows(tensor: torch.Tensor, name: str = "w") -> Tensor:
    flat = tensor.contiguous().reshape(-1)
    data = flat.view(torch.uint8).numpy() if flat.numel() else np.empty(0, np.uint8)
    dtype = BY_NAME[str(tensor.dtype).removeprefix("torch.")]
    return Tensor.contiguous(name, dtype, tuple(tensor.shape), MemoryStorage(data.reshape(-1)))


def measured(base: torch.Tensor, tuned: torch.Tensor) -> tuple[stream.Measured, dict[str, Any]]:
    pair = TensorPair(windows(base), windows(tuned), TensorInfo(None, None, None, "weight"))
    (item,) = stream.measure([pair])
    return item, _figures(item)


def oracle(base: torch.Tensor, tuned: torch.Tensor) -> dict[str, Any]:
    """The documented formulas, word by word, over whole float64 arrays."""
    b, t = (x.to(torch.float64).numpy().reshape(-1) for x in (base, tuned))
    ok = np.isfinite(b) & np.isfinite(t)
    fb, ft = b[ok], t[ok]
    d = ft - fb
    nb, nt, nd = (math.sqrt(math.fsum(x * x)) for x in (fb, ft, d))
    same = (b == t) | (np.isnan(b) & np.isnan(t))
    types = [str(x.dtype).removeprefix("torch.") for x in (base, tuned)]
    unit, step = (max(table.get(name, 0) for name in types) for table in (ROUNDOFF, SUBNORMAL))
    n, some = b.size, len(d) > 0
    return {
        "mean_abs_delta": math.fsum(np.abs(d)) / len(d) if some else None,
        "l1_delta": math.fsum(np.abs(d)),
        "l2_delta": nd,
        "max_abs_delta": float(np.abs(d).max()) if some else 0.0,
        "relative_l2": (nd / max(nb, nt) if max(nb, nt) else 0.0) if some else None,
        "mean_shift": math.fsum(d) / len(d) if some else None,
        "cosine": math.fsum(fb * ft) / nb / nt if nb and nt else None,
        "changed_fraction": float(np.count_nonzero(~same)) / n if n else None,
        "sign_flips": int(np.count_nonzero(np.sign(fb) * np.sign(ft) < 0)),
        "nonfinite_base": int(np.count_nonzero(~np.isfinite(b))),
        "nonfinite_tuned": int(np.count_nonzero(~np.isfinite(t))),
        "rounding_floor": unit * nb + math.sqrt(n) * step / 2,
        "base_l2": nb,
        "tuned_l2": nt,
    }


def check(base: torch.Tensor, tuned: torch.Tensor) -> None:
    item, got = measured(base, tuned)
    if item.cast is not None:
        got = {k: v for k, v in got.items() if k not in ("above_rounding", "rounding_floor")}
    want = oracle(base, tuned)
    # Sums of terms of both signs cancel: their error is bounded by the sums of the terms' sizes.
    slack = {"mean_shift": (want["mean_abs_delta"] or 0.0), "cosine": 1.0}
    for name, value in want.items():
        if name not in got:
            continue
        if value is None or isinstance(value, int):
            assert got[name] == value, name
        else:
            assert got[name] == pytest.approx(value, rel=1e-6, abs=1e-9 * slack.get(name, 0.0)), name
    if base.dtype == tuned.dtype and item.cast is None:
        assert got["above_rounding"] == want["changed_fraction"]


R = np.random.default_rng(11)
N = BLOCK + 17
FAMILIES = {
    "normal": lambda: R.standard_normal(N),
    "heavy tail": lambda: R.standard_t(1, N),
    "large offset": lambda: 1e4 + 1e-2 * R.standard_normal(N),
    "tiny": lambda: 1e-30 * R.standard_normal(N),
    "huge": lambda: 1e30 * R.standard_normal(N),
    "denormal": lambda: 1e-42 * R.standard_normal(N),
    "constant": lambda: np.full(N, 0.1),
    "zeros": lambda: np.zeros(N),
    "half zeros": lambda: R.standard_normal(N) * (R.random(N) < 0.5),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("one", "other"), itertools.product(FAMILIES, FAMILIES))
def test_families_of_values(one, other, dtype):
    base, tuned = (torch.from_numpy(FAMILIES[name]()).to(dtype) for name in (one, other))
    check(base, tuned)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_small_change_of_any_family(family):
    base = torch.from_numpy(FAMILIES[family]()).to(torch.float32)
    check(base, base * (1 + 1e-3))


@pytest.mark.parametrize(("one", "other"), itertools.product(DTYPES, DTYPES))
def test_every_pair_of_element_types(one, other):
    values = torch.from_numpy(50 * R.standard_normal(500))
    base, tuned = values.abs().to(DTYPES[one]), (values.abs() + torch.randn(500).abs()).to(DTYPES[other])
    check(base, tuned)


@pytest.mark.parametrize(
    "size", [0, 1, 2, 7, 63, 64, 65, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 3]
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
def test_sizes_around_blocks(size, dtype):
    base = torch.from_numpy(R.standard_normal(size)).to(DTYPES[dtype])
    check(base, torch.from_numpy(R.standard_normal(size)).to(DTYPES[dtype]))


def test_ranges_are_merged(monkeypatch):
    """A tensor cut into ranges has the figures of the whole."""
    monkeypatch.setattr(stream, "_RANGE", BLOCK + 5)
    base = torch.from_numpy(R.standard_t(1, 5 * BLOCK + 1)).to(torch.float32)
    check(base, base + torch.from_numpy(R.standard_normal(len(base))).to(torch.float32))


def test_a_tensor_of_more_than_one_range():
    base = torch.zeros(stream._RANGE + 3)
    tuned = base.clone()
    tuned[0], tuned[-1] = 2.0, -1.0
    item, got = measured(base, tuned)
    assert (item.identical, got["l1_delta"], got["max_abs_delta"]) == (False, 3.0, 2.0)
    assert got["changed_fraction"] == 2 / len(base)
    assert got["relative_l2"] == 1.0


SPECIAL = [0.0, -0.0, 1.0, -1.0, math.nan, math.inf, -math.inf, 1e-45, 3.4e38, -3.4e38, 1e-20]


@given(
    st.integers(0, 70).flatmap(
        lambda n: st.tuples(
            *[
                hnp.arrays(np.float32, n, elements=st.sampled_from(SPECIAL) | st.floats(width=32))
                for _ in range(2)
            ]
        )
    )
)
@settings(max_examples=150, deadline=None)
def test_any_float32_values(pair):
    check(*(torch.from_numpy(side) for side in pair))


@given(
    st.sampled_from(sorted(ROUNDOFF)),
    st.sampled_from(sorted(ROUNDOFF)),
    hnp.arrays(
        np.float64,
        st.integers(0, 40),
        elements=st.floats(-1e4, 1e4).filter(lambda x: x == 0 or abs(x) > 1e-100),
    ),
    st.sampled_from([-1.0, -1e-3, 0.0, 0.25, 1.0]),
)
@settings(max_examples=120, deadline=None)
def test_any_mix_of_float_types(one, other, values, scale):
    values = torch.from_numpy(values)
    check(values.to(DTYPES[one]), (values * scale).to(DTYPES[other]))


def test_value_equal_tensors_have_cosine_of_exactly_one():
    base = torch.from_numpy(R.standard_normal(100_000)).to(torch.bfloat16)
    _, got = measured(base, base.float())
    assert got["cosine"] == 1.0
    assert got["l2_delta"] == got["relative_l2"] == got["changed_fraction"] == 0.0


def test_opposite_tensors_have_relative_change_two_and_cosine_minus_one():
    base = torch.from_numpy(R.standard_normal(1000))
    _, got = measured(base, -base)
    assert got["relative_l2"] == pytest.approx(2.0, rel=1e-12)
    assert got["cosine"] == pytest.approx(-1.0, rel=1e-12)
    assert got["sign_flips"] == 1000


def test_minus_zero_is_another_bit_pattern_of_the_same_value():
    item, got = measured(torch.tensor([0.0, 1.0]), torch.tensor([-0.0, 1.0]))
    assert item.identical is False
    assert got["changed_fraction"] == got["above_rounding"] == 0.0
    assert (got["l1_delta"], got["sign_flips"]) == (0.0, 0)


def test_equal_nan_bits_are_identical_and_counted():
    values = torch.tensor([math.nan, 1.0, math.inf])
    item, got = measured(values, values.clone())
    assert item.identical is True
    assert (got["nonfinite_base"], got["nonfinite_tuned"]) == (2, 2)
    assert got["changed_fraction"] == 0.0
    assert got["base_l2"] == 1.0


def test_nan_payloads_differ_in_bits_only():
    one = torch.tensor([0x7FC00000, 0x3F800000], dtype=torch.int32).view(torch.float32)
    two = torch.tensor([0x7FC00001, 0x3F800000], dtype=torch.int32).view(torch.float32)
    item, got = measured(one, two)
    assert item.identical is False
    assert got["changed_fraction"] == got["above_rounding"] == 0.0


def test_figures_are_over_the_finite_elements():
    base = torch.tensor([1.0, math.nan, 3.0, 4.0])
    _, got = measured(base, torch.tensor([2.0, 0.0, math.inf, 4.0]))
    assert got["l1_delta"] == 1.0
    assert got["mean_abs_delta"] == 0.5  # over elements 0 and 3
    assert got["changed_fraction"] == 0.75  # over all four
    assert (got["nonfinite_base"], got["nonfinite_tuned"]) == (1, 1)


def test_nothing_finite_leaves_means_open():
    _, got = measured(torch.full((3,), math.nan), torch.ones(3))
    assert got["mean_abs_delta"] is got["mean_shift"] is got["relative_l2"] is got["cosine"] is None
    assert got["nonfinite_base"] == 3


def test_all_zero_base_has_relative_change_one():
    _, got = measured(torch.zeros(8), torch.full((8,), 1e-3))
    assert got["relative_l2"] == pytest.approx(1.0, rel=1e-12)
    assert got["cosine"] is None


@pytest.mark.parametrize("dtype", list(DTYPES))
def test_the_last_element_of_a_big_tensor_is_seen(dtype):
    base = torch.zeros(5 * BLOCK + 9).to(DTYPES[dtype])
    tuned = base.clone()
    tuned[-1] = 1
    item, got = measured(base, tuned)
    assert item.identical is False
    assert got["changed_fraction"] == 1 / len(base)
    assert (got["l2_delta"], got["max_abs_delta"]) == (1.0, 1.0)


def test_a_big_tensor_at_rest_has_no_norm_cosine_or_nan_count(tmp_path):
    """Its bytes were compared only: what a scan would tell is open, and not 0."""
    big = np.ones((300, 300), np.float32)
    base = toy(encoder__layer__0__w=big, encoder__layer__0__b=np.ones(4, np.float32))
    found = row(compare(tmp_path, base, base), "encoder.layer.0.w")
    assert found.identical is True
    assert found.l2_delta == found.changed_fraction == 0.0
    assert found.cosine is found.base_l2 is found.nonfinite_base is found.rounding_floor is None


@pytest.mark.parametrize("types", list(itertools.product(ROUNDOFF, ROUNDOFF)))
def test_rounding_floor_bounds_every_cast(types):
    """No cast of normal, tiny or denormal values adds more to the norm than the floor."""
    one, other = (DTYPES[name] for name in types)
    for scale in (1.0, 1e-7, 1e-40):
        base = (torch.from_numpy(R.standard_normal(400)) * scale).to(one)
        _, got = measured(base, base.to(other))
        assert got["l2_delta"] <= got["rounding_floor"] * (1 + 1e-12) + 1e-300
        assert got["above_rounding"] == 0.0, (types, scale)


@pytest.mark.parametrize("coarse", ["bfloat16", "float16"])
def test_share_above_rounding_is_the_share_that_was_moved(coarse):
    base = torch.from_numpy(R.uniform(1, 2, 1000)).to(torch.float32)
    tuned = base.clone()
    tuned[:130] += 0.5
    _, got = measured(base, tuned.to(DTYPES[coarse]))
    assert got["above_rounding"] == 0.13
    assert got["changed_fraction"] > 0.9  # most of the others were rounded


def test_float64_cast_to_half_through_float32_as_torch_does():
    """Torch rounds double → float → half; at a tie that differs from rounding once."""
    base = torch.tensor([1 + 2.0**-11 + 2.0**-40] * 3, dtype=torch.float64)
    _, got = measured(base, base.to(torch.float16))
    assert got["above_rounding"] == 0.0


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_a_signalling_nan_is_counted_without_a_warning(dtype: str) -> None:
    whole = {"float16": np.uint16(0x7D01), "bfloat16": np.uint16(0x7F81)}
    whole |= {"float32": np.uint32(0x7F800001), "float64": np.uint64(0x7FF0000000000001)}
    bits = torch.from_numpy(np.array([whole[dtype], 0], whole[dtype].dtype))
    tuned = bits.view(getattr(torch, dtype))
    _, row = measured(torch.zeros_like(tuned), tuned)
    assert row["nonfinite_tuned"] == 1
    assert row["changed_fraction"] == 1 / 2


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"])
def test_a_cast_beyond_the_range_of_a_float8_is_a_cast(name: str) -> None:
    # Some versions and kinds of cast stop at the largest number, others go on to infinity or NaN.
    dtype = getattr(torch, name)
    base = torch.tensor([1e6, -1e6, 1.0, 2.0])
    tuned = base.to(dtype)
    _, row = measured(base, tuned)
    assert row["above_rounding"] == 0
    _, row = measured(base, torch.tensor([1.0, float("nan"), float("nan"), 2.0]).to(dtype))
    assert row["above_rounding"] == 2 / 4, "1e6 is no cast of 1, nor NaN of 1; NaN of -1e6 may be"


def test_an_empty_tensor_did_not_move(tmp_path):
    weights = {"encoder__layer__0__weight": np.ones((4, 4), np.float32)}
    one = toy(**weights, encoder__layer__0__bias=np.ones(0, np.float32))
    two = toy(**weights, encoder__layer__0__bias=np.ones(0, np.float16))
    found = row(compare(tmp_path, one, two), "encoder.layer.0.bias")
    assert found.moved is False
    assert found.mean_abs_delta is found.changed_fraction is None
