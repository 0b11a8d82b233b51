"""Figures where float64 arithmetic ends: 64-bit integers, extreme float64, against exact rational numbers."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitfit_probe.checkpoint.storage.dtypes import BY_NAME
from bitfit_probe.checkpoint.storage.tensor import MemoryStorage, Tensor
from bitfit_probe.comparison.careful import careful_statistics
from bitfit_probe.comparison.kernel import Span, Sums, Workspace

pytestmark = pytest.mark.filterwarnings("error")

WORK = Workspace()


def tensor(name, values):
    dtype = BY_NAME[name]
    data = np.array(values, dtype.storage)
    return Tensor.contiguous("x", dtype, data.shape, MemoryStorage(data.view(np.uint8)))


def sums(base_type, base, tuned_type, tuned):
    b, t = tensor(base_type, base), tensor(tuned_type, tuned)
    return careful_statistics(Span(b, t, 0, len(base)), WORK)


def root(value):
    """√ of a fraction as float64 that neither runs over nor vanishes on the way."""
    if not value:
        return 0.0
    power = (value.numerator.bit_length() - value.denominator.bit_length()) // 2
    return math.ldexp(math.sqrt(value / Fraction(4) ** power), power)


def check(found, base, tuned):
    """Every figure beside exact arithmetic on the same values."""
    b, t = [Fraction(x) for x in base], [Fraction(x) for x in tuned]
    d = [y - x for x, y in zip(b, t, strict=True)]
    assert found.count == len(b)
    assert found.changed == found.above_rounding == sum(x != 0 for x in d)
    assert found.sign_flips == sum(x * y < 0 for x, y in zip(b, t, strict=True))
    ours, theirs, lifted = (
        Fraction(2) ** power for power in (found.base_exponent, found.tuned_exponent, found.delta_exponent)
    )
    for exact, held in (
        (sum(x * x for x in b), Fraction(found.base_square) * ours**2),
        (sum(x * x for x in t), Fraction(found.tuned_square) * theirs**2),
        (sum(x * x for x in d), Fraction(found.delta_square) * lifted**2),
        (sum(map(abs, d)) ** 2, (Fraction(found.delta_abs) * lifted) ** 2),
        (max(map(abs, d)) ** 2, (Fraction(found.delta_max) * lifted) ** 2),
    ):
        assert root(Fraction(held)) == pytest.approx(root(Fraction(exact)), rel=1e-12)


@pytest.mark.parametrize(
    ("name", "base", "tuned"),
    [
        ("int64", [2**53, 2**60, -(2**62)], [2**53 + 1, 2**60 + 1, -(2**62) - 1]),
        ("int64", [-(2**63), 2**63 - 1], [2**63 - 1, -(2**63)]),
        ("uint64", [2**64 - 1, 0, 7], [2**64 - 2, 2**64 - 1, 7]),
    ],
)
def test_integers_are_compared_as_integers(name, base, tuned):
    check(sums(name, base, name, tuned), base, tuned)


def test_integers_of_two_types_are_compared_by_value():
    found = sums("uint64", [2**63 + 1, 5, 2**53 + 1], "int64", [5, 5, 2**53])
    assert (found.changed, found.above_rounding, found.delta_max) == (2, 2, 2.0**63)


@given(st.lists(st.tuples(*[st.integers(-(2**63), 2**63 - 1)] * 2), min_size=1, max_size=8))
def test_any_int64(pairs):
    base, tuned = map(list, zip(*pairs, strict=True))
    check(sums("int64", base, "int64", tuned), base, tuned)


FINITE = st.floats(allow_nan=False, allow_infinity=False, width=64)


@settings(max_examples=300)
@given(st.lists(st.tuples(FINITE, FINITE), min_size=1, max_size=6))
def test_any_float64(pairs):
    base, tuned = map(list, zip(*pairs, strict=True))
    found = sums("float64", base, "float64", tuned)
    b, t = [Fraction(x) for x in base], [Fraction(x) for x in tuned]
    assert found.changed == sum(x != y for x, y in zip(b, t, strict=True))
    assert found.sign_flips == sum(x * y < 0 for x, y in zip(b, t, strict=True))
    sides = (b, found.base_square, found.base_exponent), (t, found.tuned_square, found.tuned_exponent)
    for values, square, exponent in sides:
        if any(values):
            exact = sum(x * x for x in values)
            assert abs(Fraction(square) * Fraction(4) ** exponent / exact - 1) <= 1e-12
    largest = max(abs(y - x) for x, y in zip(b, t, strict=True))
    if largest:
        ours = Fraction(found.delta_max) * Fraction(2) ** found.delta_exponent
        assert abs(ours / largest - 1) <= 1e-12


@pytest.mark.parametrize("size", [1e308, 1e200, 1.0, 1e-170, 1e-300, 5e-324])
def test_a_flipped_tensor_has_the_cosine_minus_one_at_every_scale(size, tmp_path):
    import torch
    from safetensors.torch import save_file

    import bitfit_probe as bp

    base = {"encoder.layer.0.output.dense.bias": torch.full((8,), size, dtype=torch.float64)}
    for name, sign in (("base", 1), ("tuned", -1)):
        save_file({key: sign * value for key, value in base.items()}, tmp_path / f"{name}.safetensors")
    (comparison,) = bp.diff(tmp_path / "base.safetensors", tmp_path / "tuned.safetensors").comparisons
    (row,) = comparison.tensors
    assert row.cosine == pytest.approx(-1, abs=1e-12)
    assert row.sign_flips == 8
    assert row.relative_l2 == pytest.approx(2)
    # 2e308 is beyond float64.
    assert row.max_abs_delta == (None if size == 1e308 else 2 * size)
    assert row.base_l2 is None or row.base_l2 == pytest.approx(8**0.5 * size)


def test_a_tiny_side_beside_a_large_one_keeps_its_norm():
    found = sums("float64", [1e-3] * 4, "float64", [3e-171] * 4)
    assert math.ldexp(math.sqrt(found.tuned_square), found.tuned_exponent) == pytest.approx(6e-171)
    cosine = found.product / math.sqrt(found.base_square) / math.sqrt(found.tuned_square)
    assert cosine == pytest.approx(1)


def test_means_are_over_what_is_finite_on_both_sides():
    found = sums("float64", [0.0, 0.0, np.nan, 1.0], "float64", [1.0, 3.0, 1.0, np.inf])
    assert (found.count, found.delta_abs, found.changed) == (2, 4.0, 4)


def test_ranges_of_different_scales_add_up():
    parts = [sums("float64", [x], "float64", [-x]) for x in (1e-170, 3e-170, 1e300, 0.0)]
    tiny, whole = Sums(), Sums()
    for part in parts[:2]:
        tiny.add(part)
    assert math.ldexp(math.sqrt(tiny.delta_square), tiny.delta_exponent) == pytest.approx(2e-170 * 10**0.5)
    for part in parts:
        whole.add(Sums.of(part.numbers()))
    assert math.ldexp(whole.delta_max, whole.delta_exponent) == pytest.approx(2e300)
    assert whole.sign_flips == 3
