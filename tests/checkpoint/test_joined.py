"""Tensors that are put together from pieces, or made by rows: equal to what numpy puts together at once."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfit_probe.checkpoint.storage.computed import RowStorage, computed
from bitfit_probe.checkpoint.storage.dtypes import BY_NAME
from bitfit_probe.checkpoint.storage.joined import JoinedStorage, Tile, tiled
from bitfit_probe.checkpoint.storage.tensor import MemoryStorage, Tensor

FLOAT32 = BY_NAME["float32"]


def tensor(values: np.ndarray) -> Tensor:
    raw = np.ascontiguousarray(values, "<f4")
    return Tensor.contiguous("x", FLOAT32, raw.shape, MemoryStorage(raw.reshape(-1).view(np.uint8)))


@given(st.lists(st.integers(0, 7), min_size=1, max_size=6), st.data())
def test_pieces_follow_each_other(sizes: list[int], data: st.DataObject) -> None:
    whole = np.arange(sum(sizes), dtype=np.float32)
    ends = np.cumsum(sizes)
    storage = JoinedStorage([tensor(part) for part in np.split(whole, ends[:-1])])
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, len(whole)))
    joined = Tensor.contiguous("x", FLOAT32, (len(whole),), storage)
    np.testing.assert_array_equal(joined.block(start, stop), whole[start:stop])


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple),
    st.data(),
)
def test_tiles_fill_a_tensor(shape: tuple[int, ...], data: st.DataObject) -> None:
    whole = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    cuts = [[0, data.draw(st.integers(0, size)), size] for size in shape]
    tiles = []
    for ranges in itertools.product(*(list(itertools.pairwise(cut)) for cut in cuts)):
        if all(low < high for low, high in ranges):
            part = whole[tuple(slice(low, high) for low, high in ranges)]
            tiles.append(Tile(tensor(part), tuple(low for low, _ in ranges)))
    joined = tiled("x", FLOAT32, shape, tiles)
    start = data.draw(st.integers(0, whole.size))
    stop = data.draw(st.integers(start, whole.size))
    np.testing.assert_array_equal(joined.block(start, stop), whole.reshape(-1)[start:stop])


@pytest.mark.parametrize(
    "tiles",
    [
        [Tile(tensor(np.ones((2, 3))), (0, 0))],  # a half is missing
        [Tile(tensor(np.ones((2, 3))), (0, 0)), Tile(tensor(np.ones((2, 3))), (0, 0))],  # the same half twice
        [Tile(tensor(np.ones((2, 3))), (0, 0)), Tile(tensor(np.ones((2, 3))), (3, 0))],  # beyond the end
        [Tile(tensor(np.ones(12)), (0,))],  # another number of axes
    ],
)
def test_tiles_that_do_not_are_refused(tiles: list[Tile]) -> None:
    with pytest.raises(ValueError, match=r"^x: "):
        tiled("x", FLOAT32, (4, 3), tiles)


@given(st.integers(1, 6), st.integers(1, 5), st.data())
def test_rows_are_made_for_any_range(rows: int, columns: int, data: st.DataObject) -> None:
    whole = np.random.default_rng(0).standard_normal((rows, columns))
    made = computed("x", (rows, columns), lambda start, stop: whole[start:stop])
    start = data.draw(st.integers(0, whole.size))
    stop = data.draw(st.integers(start, whole.size))
    np.testing.assert_array_equal(made.block(start, stop), whole.reshape(-1)[start:stop])


def test_an_empty_matrix_has_no_bytes() -> None:
    assert computed("x", (3, 0), lambda start, stop: np.empty((stop - start, 0))).values().shape == (3, 0)


def test_long_reads_are_made_in_short_steps() -> None:
    asked: list[int] = []

    def rows(start: int, stop: int) -> np.ndarray:
        asked.append(stop - start)
        return np.full((stop - start, 1 << 10), float(start))

    storage = RowStorage(1 << 10, 1 << 10, rows)
    Tensor.contiguous("x", BY_NAME["float64"], (1 << 10, 1 << 10), storage).values()
    assert max(asked) == 256  # 2^18 elements
    assert sum(asked) == 1 << 10
