"""The fast path for large float32 tensors: right where it answers, and silent where it might not be."""

from __future__ import annotations

import numpy as np
import pytest

from bitfit_probe.checkpoint.storage.dtypes import BY_NAME
from bitfit_probe.checkpoint.storage.tensor import MemoryStorage, Tensor
from bitfit_probe.comparison.kernel import Span, Sums, Workspace, add_statistics
from bitfit_probe.comparison.narrow import narrow_statistics, suits

SIZE = 300_001  # three blocks, the last one short and not a whole number of rows
WORK = Workspace()


def _tensor(values: np.ndarray) -> Tensor:
    data = values.astype("<f4")
    return Tensor.contiguous("x", BY_NAME["float32"], data.shape, MemoryStorage(data.view(np.uint8)))


def _pair(kind: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    base = rng.standard_normal(SIZE)
    step = {
        "shifted": 1e-3 * (rng.standard_normal(SIZE) + 1),
        "constant": np.full(SIZE, 1e-3),
        "heavy tailed": 1e-3 * np.abs(rng.standard_t(2, SIZE)),
        "scaled": 0.1 * np.abs(base),
        "sparse": 1e-2 * (rng.random(SIZE) < 0.01),
    }[kind]
    return base.astype("<f4"), (base + step).astype("<f4")


@pytest.mark.parametrize("kind", ["shifted", "constant", "heavy tailed", "scaled", "sparse"])
def test_equal_to_float64(kind: str) -> None:
    b, t = _pair(kind)
    sums = narrow_statistics(_tensor(b), _tensor(t), 0, SIZE, WORK)
    assert sums is not None
    x, y = b.astype(np.float64), t.astype(np.float64)
    d = y - x
    expected = {
        "base_square": x @ x,
        "tuned_square": y @ y,
        "product": x @ y,
        "delta_square": d @ d,
        "delta": d.sum(),
        "delta_abs": np.abs(d).sum(),
        "delta_max": np.abs(d).max(),
    }
    for name, value in expected.items():
        assert getattr(sums, name) == pytest.approx(value, rel=1e-6), name
    assert (sums.count, sums.changed) == (SIZE, np.count_nonzero(d))
    assert sums.sign_flips == np.count_nonzero(x * y < 0)


@pytest.mark.parametrize(
    ("why", "spoil"),
    [
        ("a sum that cancels", lambda b: np.where(np.arange(SIZE) % 2, b + 1e-3, b - 1e-3)),
        ("directions at right angles", lambda b: np.roll(b, 1) + 5e-2),
        ("not a number", lambda b: np.where(np.arange(SIZE) == 7, np.nan, b + 1e-3)),
        ("infinite", lambda b: np.where(np.arange(SIZE) == 7, np.inf, b + 1e-3)),
        ("huge", lambda b: b * 1e25),
        ("vanishing", lambda b: b * 1e-30),
        ("a vanishing step", lambda b: np.where(b == 0, 1e-25, b)),
    ],
)
def test_leaves_to_float64(why: str, spoil) -> None:  # type: ignore[no-untyped-def]
    base = np.random.default_rng(3).standard_normal(SIZE).astype("<f4")
    base[::2] = 0 if why == "a vanishing step" else base[::2]
    assert narrow_statistics(_tensor(base), _tensor(spoil(base)), 0, SIZE, WORK) is None, why


def test_zeros_have_no_sign() -> None:
    base = np.ones(SIZE, "<f4")
    tuned = base + np.float32(0.5)
    base[:10], tuned[:10] = [0.0, -0.0] * 5, -1.0
    tuned[10:15] = -1.0
    sums = narrow_statistics(_tensor(base), _tensor(tuned), 0, SIZE, WORK)
    assert sums is not None
    assert sums.sign_flips == 5


def test_only_large_float32_pairs_suit() -> None:
    large, small = _tensor(np.zeros(SIZE)), _tensor(np.zeros(100))
    half = Tensor.contiguous("x", BY_NAME["bfloat16"], (SIZE,), MemoryStorage(np.zeros(2 * SIZE, np.uint8)))
    assert suits(large, large)
    assert not suits(small, small)
    assert not suits(large, half)


def test_both_paths_agree_on_a_range_in_the_middle() -> None:
    b, t = map(_tensor, _pair("shifted"))
    narrow, wide = narrow_statistics(b, t, 1000, 200_000, WORK), Sums()
    add_statistics(wide, Span(b, t, 1000, 200_000), WORK)
    assert narrow is not None
    assert narrow.numbers() == pytest.approx(wide.numbers(), rel=1e-6)
