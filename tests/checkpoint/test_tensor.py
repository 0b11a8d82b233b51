"""Windows on storages: ranges, parts and rows against numpy's own slicing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfit_probe.checkpoint.storage.dtypes import BY_NAME
from bitfit_probe.checkpoint.storage.strided import Window
from bitfit_probe.checkpoint.storage.tensor import MemoryStorage, Tensor, contiguous_strides
from bitfit_probe.records import Part

F4 = BY_NAME["float32"]


def window_on(array: np.ndarray, view: np.ndarray) -> Tensor:
    """`view` of the C-ordered `array` as a Tensor on all its bytes."""
    offset = (view.__array_interface__["data"][0] - array.__array_interface__["data"][0]) // 4
    strides = tuple(stride // 4 for stride in view.strides)
    return Tensor("w", F4, view.shape, MemoryStorage(array.reshape(-1).view(np.uint8)), offset, strides)


def read(tensor: Tensor, start: int, stop: int) -> np.ndarray:
    out = np.full(stop - start, np.nan, "<f4")
    tensor.read(start, stop, out)
    return out


@st.composite
def windows(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    shape = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    array = np.arange(np.prod(shape), dtype="<f4").reshape(shape)
    view = array.transpose(draw(st.permutations(range(len(shape)))))
    for axis in range(view.ndim):
        start, step = draw(st.integers(0, view.shape[axis] - 1)), draw(st.integers(1, 3))
        view = view[(slice(None),) * axis + (slice(start, None, step),)]
    if draw(st.booleans()):
        view = np.broadcast_to(view, (draw(st.integers(1, 3)), *view.shape))
    return array, view


@given(pair=windows(), data=st.data())
def test_any_range_of_any_window(pair: tuple[np.ndarray, np.ndarray], data: st.DataObject) -> None:
    array, view = pair
    start = data.draw(st.integers(0, view.size))
    stop = data.draw(st.integers(start, view.size))
    tensor = window_on(array, view)
    assert read(tensor, start, stop).tolist() == view.reshape(-1)[start:stop].tolist()
    assert tensor.values().tolist() == view.tolist()


@pytest.mark.parametrize("bounds", [(0, 2_000_000), (1_234_567, 1_234_999), (999, 1_500_001)])
def test_large_windows_are_read_in_pieces_without_the_gaps(bounds: tuple[int, int]) -> None:
    array = np.arange(2_000_000, dtype="<f4").reshape(1000, 2000)
    data, spans = array.reshape(-1).view(np.uint8), []

    def read_into(out: np.ndarray, offset: int) -> None:
        spans.append(len(out))
        out[:] = data[offset : offset + len(out)]

    out = np.empty(bounds[1] - bounds[0], "<f4")
    Window(0, (2000, 1000), (1, 2000)).read(read_into, *bounds, out)
    assert out.tolist() == array.T.reshape(-1)[slice(*bounds)].tolist()
    # Never more than four times what is wanted in a piece, or 64 kB.
    assert max(spans) <= max(4 * out.nbytes, 1 << 16)


def test_a_sparse_slice_of_a_huge_storage_reads_little() -> None:
    spans: list[int] = []
    out = np.empty(8, "<f4")
    Window(3, (8,), (1 << 40,)).read(lambda buffer, at: spans.append(len(buffer)), 0, 8, out)
    assert spans == [4] * 8


@given(shape=st.lists(st.integers(1, 4), min_size=1, max_size=3), data=st.data())
def test_part_is_a_slice_of_the_reshaped_tensor(shape: list[int], data: st.DataObject) -> None:
    array = np.arange(np.prod(shape), dtype="<f4")
    axis = data.draw(st.integers(0, len(shape) - 1))
    start = data.draw(st.integers(0, shape[axis] - 1))
    stop = data.draw(st.integers(start + 1, shape[axis]))
    part = Part("q", tuple(shape), axis, start, stop)
    got = window_on(array, array).part(part)
    want = array.reshape(shape)[(slice(None),) * axis + (slice(start, stop),)]
    assert got.values().tolist() == want.tolist()
    assert read(got, got.size // 2, got.size).tolist() == want.reshape(-1)[want.size // 2 :].tolist()


def test_part_of_another_size_or_across_strides_is_refused() -> None:
    array = np.arange(12, dtype="<f4").reshape(3, 4)
    with pytest.raises(ValueError, match="can't be split"):
        window_on(array, array).part(Part("q", (2, 4), 0, 0, 1))
    with pytest.raises(ValueError, match="can't be split"):
        window_on(array, array.T).part(Part("q", (3, 4), 0, 0, 1))


@pytest.mark.parametrize("shape", [(8, 3), (2, 4, 3), (4, 2, 3), (8, 3, 1)])
def test_part_of_a_turned_or_sparse_tensor_is_a_slice_of_its_groups(shape: tuple[int, ...]) -> None:
    storage = np.arange(48, dtype="<f4")
    for array in (storage.reshape(3, 16).T[::2], storage.reshape(8, 6)[:, ::2]):
        for axis in range(len(shape)):
            got = window_on(storage, array).part(Part("q", shape, axis, 0, max(1, shape[axis] // 2)))
            want = array.reshape(shape)[(slice(None),) * axis + (slice(0, max(1, shape[axis] // 2)),)]
            assert got.values().tolist() == want.tolist()


@pytest.mark.parametrize("count", [0, 1, 3])
def test_rows_are_the_first_ones(count: int) -> None:
    array = np.arange(12, dtype="<f4").reshape(4, 3)
    assert window_on(array, array).rows(count).values().tolist() == array[:count].tolist()
    assert window_on(array, array.T).rows(min(count, 3)).values().tolist() == array.T[:count].tolist()


@pytest.mark.parametrize(
    ("shape", "offset", "strides"),
    [
        ((5,), 0, (1,)),
        ((4,), 1, (1,)),
        ((2,), 0, (4,)),
        ((2, 2), 0, (3, 1)),
        ((-1,), 0, (1,)),
        ((2,), -1, (1,)),
        ((2,), 0, (-1,)),
        ((2,), 0, ()),
        ((1,) * 33, 0, (1,) * 33),
        ((0, 1 << 62), 0, (1, 1)),
        ((1 << 40,), 0, (0,)),
    ],
)
def test_windows_that_make_no_sense(shape: tuple[int, ...], offset: int, strides: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="w: "):
        Tensor("w", F4, shape, MemoryStorage(np.zeros(16, np.uint8)), offset, strides)


@given(shape=st.lists(st.integers(1, 5), max_size=4).map(tuple))
def test_contiguous_strides_are_those_of_numpy(shape: tuple[int, ...]) -> None:
    want = tuple(stride // 4 for stride in np.empty(shape, "<f4").strides)
    assert contiguous_strides(shape) == want
    tensor = window_on(array := np.zeros(shape, "<f4"), array)
    assert tensor.is_contiguous
