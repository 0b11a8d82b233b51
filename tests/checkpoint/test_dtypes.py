"""Decoding and rounding against torch, which implements every type on its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bitfit_probe.checkpoint.storage.dtypes import BY_NAME, DType

FLOAT8 = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
INTEGERS = ("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8")
ROUNDED = ("float16", "bfloat16", *FLOAT8)
#: What torch's own types say of their ranges.
LARGEST = {name: torch.finfo(getattr(torch, name)).max for name in ROUNDED}


def decoded(dtype: DType, raw: np.ndarray) -> np.ndarray:
    out = np.empty(len(raw))
    dtype.decode(raw.view(dtype.storage), out)
    return out


def torch_decoded(name: str, raw: np.ndarray) -> np.ndarray:
    return torch.from_numpy(raw.copy()).view(getattr(torch, name)).to(torch.float64).numpy()


def torch_rounded(name: str, values: np.ndarray) -> np.ndarray:
    return torch.from_numpy(values.astype(np.float32)).to(getattr(torch, name)).to(torch.float64).numpy()


@pytest.mark.parametrize("name", FLOAT8)
def test_all_256_codes_of_float8(name: str) -> None:
    codes = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(decoded(BY_NAME[name], codes), torch_decoded(name, codes))


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_all_65536_codes_of_16_bits(name: str) -> None:
    codes = np.arange(65536, dtype=np.uint16)
    ours, theirs = decoded(BY_NAME[name], codes), torch_decoded(name, codes.view(np.int16))
    np.testing.assert_array_equal(ours, theirs)
    # assert_array_equal takes -0.0 for 0.0, so the signs are compared on their own; a NaN's says nothing.
    number = ~np.isnan(theirs)
    np.testing.assert_array_equal(np.signbit(ours[number]), np.signbit(theirs[number]))


@pytest.mark.parametrize("name", INTEGERS)
def test_integers_at_both_ends_of_their_range(name: str) -> None:
    info = torch.iinfo(getattr(torch, name))
    raw = np.array([info.min, 0, 1, info.max], name)
    assert decoded(BY_NAME[name], raw).tolist() == [float(info.min), 0.0, 1.0, float(info.max)]


def test_bool() -> None:
    assert decoded(BY_NAME["bool"], torch.tensor([True, False]).numpy()).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_wide_floats_keep_every_bit(name: str) -> None:
    info = np.finfo(name)
    raw = np.array([info.max, info.tiny, info.smallest_subnormal, -0.0, np.inf, -np.inf, np.nan], name)
    np.testing.assert_array_equal(decoded(BY_NAME[name], raw), torch.from_numpy(raw).double().numpy())


@pytest.mark.parametrize("name", sorted(name for name, dtype in BY_NAME.items() if not dtype.block))
def test_element_sizes_are_those_of_torch(name: str) -> None:
    assert BY_NAME[name].itemsize == getattr(torch, name).itemsize


def test_types_without_one_real_value_are_not_decodable() -> None:
    opaque = {name for name, dtype in BY_NAME.items() if not dtype.decodable}
    assert opaque == {"complex64", "complex128", "float8_e8m0fnu"}


def test_an_unknown_name_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        BY_NAME["float4_e2m1fn_x2"]


def finite_codes(name: str) -> np.ndarray:
    bits = np.uint8 if "float8" in name else np.uint16
    codes = np.arange(128 if bits is np.uint8 else 32768, dtype=bits)
    values = decoded(BY_NAME[name], codes)
    return values[np.isfinite(values)]


@pytest.mark.parametrize("name", ROUNDED)
def test_round_at_every_tie_and_beside_it(name: str) -> None:
    # Middles of neighbours are exact in float32 (one bit more than the type, at most 11 + 1).
    values = finite_codes(name)
    ties = (values[:-1] + values[1:]) / 2
    ties = ties[ties >= np.finfo(np.float32).smallest_subnormal].astype(np.float32)
    near = np.concatenate([ties, np.nextafter(ties, np.float32(0)), np.nextafter(ties, np.float32(np.inf))])
    both = np.concatenate([near, -near]).astype(np.float64)
    np.testing.assert_array_equal(BY_NAME[name].round(both), torch_rounded(name, both))


@pytest.mark.parametrize("name", ROUNDED)
def test_round_keeps_every_value_of_the_type(name: str) -> None:
    values = finite_codes(name)
    np.testing.assert_array_equal(BY_NAME[name].round(values), values)


@pytest.mark.parametrize("name", ROUNDED)
@given(values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_round_is_the_cast_of_torch(name: str, values: list[float]) -> None:
    inside = np.clip(np.array(values), -LARGEST[name], LARGEST[name])
    inside = inside.astype(np.float32).astype(np.float64)
    np.testing.assert_array_equal(BY_NAME[name].round(inside), torch_rounded(name, inside))


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_beyond_the_range_16_bit_types_go_to_infinity_as_in_torch(name: str) -> None:
    large = np.float64(np.finfo(np.float32).max)
    values = np.array([large, -large, np.inf, -np.inf, np.nan])
    np.testing.assert_array_equal(BY_NAME[name].round(values), torch_rounded(name, values))
    assert BY_NAME[name].round(values)[0] == np.inf


@pytest.mark.parametrize("name", FLOAT8)
def test_beyond_the_range_float8_saturates_unlike_torch(name: str) -> None:
    # Converters of fp8 checkpoints clamp first, so the largest value is what a weight beyond the range comes
    # out as, whatever torch's bare cast gives (448, inf or NaN, by type and version). Non-finite values stay.
    values = np.array([1e6, -1e6, np.inf, -np.inf, np.nan])
    expected = [LARGEST[name], -LARGEST[name], np.inf, -np.inf, np.nan]
    np.testing.assert_array_equal(BY_NAME[name].round(values), expected)


def test_float32_rounds_as_numpy_casts_and_float64_not_at_all() -> None:
    values = np.array([1 + 2.0**-24, 1 + 2.0**-24 + 2.0**-50, 2.0**-150, 3 * 2.0**-150, -1 / 3])
    expected = values.astype(np.float32).astype(np.float64)
    assert BY_NAME["float32"].round(values).tolist() == expected.tolist()
    assert expected.tolist() != values.tolist()
    assert BY_NAME["float64"].round(values).tolist() == values.tolist()
    assert BY_NAME["int8"].round(values).tolist() == values.tolist()


@pytest.mark.parametrize("name", [*ROUNDED, "float32"])
def test_roundoff_bounds_the_relative_error_and_is_nearly_reached(name: str) -> None:
    # Higham 2002, theorem 2.2: at most u / (1 + u), reached at the tie above a power of two.
    dtype = BY_NAME[name]
    assert dtype.roundoff is not None
    rng = np.random.default_rng(0)
    values = np.concatenate([1 + rng.random(10_000), [1 + dtype.roundoff]])
    worst = np.max(np.abs(dtype.round(values) - values) / values)
    assert worst == pytest.approx(dtype.roundoff / (1 + dtype.roundoff), rel=1e-12)


@pytest.mark.parametrize("name", [*ROUNDED, "float32", "float64"])
def test_roundoff_and_subnormal_are_those_of_torch_finfo(name: str) -> None:
    info, dtype = torch.finfo(getattr(torch, name)), BY_NAME[name]
    # torch gives e5m2fnuz the eps of three mantissa bits, but it has two; the test above measures it.
    eps = 0.25 if name == "float8_e5m2fnuz" else info.eps
    assert dtype.roundoff == eps / 2
    # finfo.tiny is the smallest normal; the step below it is that of its own binade.
    assert dtype.subnormal == info.tiny * eps
    assert dtype.is_float
