"""Tensors that lie in files, and are read a block at a time.

A `Tensor` is a strided window on a `Storage`, just as in PyTorch; parts of fused tensors, common
rows of resized ones and non-contiguous views are all windows, so one reader serves them all.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from bitfit_probe.checkpoint.storage.dtypes import DType
from bitfit_probe.checkpoint.storage.file import Bytes, File, Section
from bitfit_probe.checkpoint.storage.strided import Window
from bitfit_probe.errors import CorruptError
from bitfit_probe.frozen import Frozen
from bitfit_probe.records import Part

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "MAX_AXES",
    "MAX_ELEMENTS",
    "Bytes",
    "ComputedStorage",
    "File",
    "FileStorage",
    "MemoryStorage",
    "Section",
    "Storage",
    "Tensor",
    "contiguous_strides",
    "expect",
    "fault_of_name",
]

Array: TypeAlias = "npt.NDArray[Any]"

#: Axes that every version of numpy can hold, and elements that stay within its 64-bit sizes.
MAX_AXES = 32
MAX_ELEMENTS = 1 << 58
#: Elements of a window that repeats its storage (stride 0); reading more would take for ever.
_MAX_REPEATED = 1 << 32


#: Several times what the longest names of real models have.
_LONGEST_NAME, _MOST_PARTS = 1000, 100


def fault_of_name(name: str) -> str | None:
    """What keeps `name` from being one that a module tree gives; None where nothing does.

    What a name means is looked for behind each of its dots, so both of its lengths are bounded.
    """
    if len(name) <= _LONGEST_NAME and name.count(".") < _MOST_PARTS:
        return None
    return (
        f"a tensor's name has {len(name):,} characters and {name.count('.') + 1:,} dotted parts "
        f"({name[:40]!r} …), more than {_LONGEST_NAME} and {_MOST_PARTS}"
    )


class Storage(Protocol):
    """Bytes that tensors look at."""

    @property
    def nbytes(self) -> int:
        """Size in bytes."""

    @property
    def crc32(self) -> int | None:
        """A CRC-32 that the container claims for the bytes, None where it claims none."""

    def read_into(self, out: Bytes, offset: int) -> None:
        """Fill `out`, shape (n,) of uint8, from byte `offset`."""


@dataclass(frozen=True)
class FileStorage:
    """Bytes ``[start, start + nbytes)`` of a file."""

    file: File
    start: int
    nbytes: int
    crc32: int | None = None

    def __post_init__(self) -> None:
        if self.start < 0 or self.nbytes < 0 or self.start + self.nbytes > self.file.size:
            raise CorruptError(
                "a tensor's data would lie outside the file",
                advice="copy or download it again",
                path=self.file.path,
            )

    def read_into(self, out: Bytes, offset: int) -> None:
        """Fill `out` from byte `offset` of the storage."""
        self.file.read_into(out, self.start + offset)


class MemoryStorage(Frozen):
    """Bytes in memory, for the readers that can't leave them in the file."""

    data: Bytes
    crc32: None = None

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return int(self.data.nbytes)

    def read_into(self, out: Bytes, offset: int) -> None:
        """Fill `out` from byte `offset`."""
        np.copyto(out, self.data[offset : offset + len(out)])


class ComputedStorage:
    """Bytes that are computed from other tensors when they are first asked for."""

    crc32: int | None = None

    def __init__(self, nbytes: int, compute: Callable[[], Bytes]) -> None:
        self.nbytes = nbytes
        self._compute = compute
        self._lock = threading.Lock()
        self._data: Bytes | None = None

    def whole(self) -> Bytes:
        """All bytes."""
        with self._lock:
            if self._data is None:
                self._data = self._compute()
        return self._data

    def read_into(self, out: Bytes, offset: int) -> None:
        """Fill `out` from byte `offset`."""
        np.copyto(out, self.whole()[offset : offset + len(out)])


@lru_cache(maxsize=1024)
def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides in elements of a C-ordered array of `shape`."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))


@dataclass(frozen=True)
class Tensor:
    """A named tensor in a file.

    Attributes
    ----------
    name
        The name that the checkpoint gives it.
    dtype
        Its element type.
    shape
        Its shape; () for a scalar.
    storage
        The bytes that it looks at; several tensors may share them.
    offset, strides
        Where its first element stands and how far apart its elements are, in elements.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    storage: Storage
    offset: int
    strides: tuple[int, ...]

    def __post_init__(self) -> None:
        shape, strides = self.shape, self.strides
        if min((*shape, *strides, self.offset)) < 0:
            raise ValueError(f"{self.name}: negative shape, stride or offset")
        if len(shape) != len(strides) or len(shape) > MAX_AXES:
            raise ValueError(f"{self.name}: too many axes, or not one stride for each")
        size = self.size
        if (size or math.prod(max(length, 1) for length in shape)) > MAX_ELEMENTS:
            raise ValueError(f"{self.name}: a shape that no memory holds")
        if size and self.reach * self.dtype.itemsize > self.storage.nbytes:
            raise ValueError(f"{self.name}: looks beyond its storage")
        if size > _MAX_REPEATED and self.nbytes > self.storage.nbytes:
            raise ValueError(f"{self.name}: {size:,} elements that repeat those of a small storage")

    @classmethod
    def contiguous(cls, name: str, dtype: DType, shape: tuple[int, ...], storage: Storage) -> Tensor:
        """A C-ordered tensor at the start of `storage`."""
        return cls(name, dtype, shape, storage, 0, contiguous_strides(shape))

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def reach(self) -> int:
        """How many elements of the storage lie up to its last one; for a tensor that has elements."""
        if self.strides == contiguous_strides(self.shape):
            return self.offset + self.size
        return (
            self.offset
            + 1
            + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        )

    @property
    def nbytes(self) -> int:
        """Size of the elements in bytes."""
        return self.size * self.dtype.itemsize

    @property
    def is_contiguous(self) -> bool:
        """Whether the elements stand in C order without gaps."""
        expected = contiguous_strides(self.shape)
        if self.strides == expected:
            return True
        return not self.size or all(
            size == 1 or stride == want
            for size, stride, want in zip(self.shape, self.strides, expected, strict=True)
        )

    @property
    def crc32(self) -> int | None:
        """The container's CRC-32 of just this tensor's bytes, None where there is none."""
        covers = self.is_contiguous and self.nbytes == self.storage.nbytes
        return self.storage.crc32 if covers else None

    def part(self, part: Part) -> Tensor:
        """The window on one part of this fused tensor.

        Raises
        ------
        ValueError
            The part's shape has another size; or the tensor is strided, and that shape is not its own with at
            most one axis cut into groups.
        """
        strides = self._strides_in(part.shape)
        shape = list(part.shape)
        shape[part.axis] = part.stop - part.start
        return replace(
            self,
            shape=tuple(shape),
            strides=strides,
            offset=self.offset + part.start * strides[part.axis],
        )

    def _strides_in(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Strides of the same elements in `shape`."""
        if shape == self.shape:
            return self.strides
        if self.is_contiguous and math.prod(shape) == self.size:
            return contiguous_strides(shape)
        pairs = enumerate(zip(self.shape, shape, strict=False))
        axis = next((at for at, (whole, cut) in pairs if whole != cut), len(self.shape) - 1)
        joined = (*shape[:axis], math.prod(shape[axis : axis + 2]), *shape[axis + 2 :])
        if joined != self.shape or len(shape) == len(joined):
            raise ValueError(f"{self.name}: can't be split into {shape}")
        return (*self.strides[:axis], shape[axis + 1] * self.strides[axis], *self.strides[axis:])

    def rows(self, count: int) -> Tensor:
        """The window on the first `count` rows."""
        return replace(self, shape=(count, *self.shape[1:]))

    def read(self, start: int, stop: int, out: Array) -> None:
        """Fill `out` with elements ``[start, stop)`` in C order, still encoded.

        Parameters
        ----------
        start, stop
            Range of flat indices.
        out
            Shape (stop - start,), of ``dtype.storage``, contiguous.
        """
        if self.is_contiguous:
            at = (self.offset + start) * self.dtype.itemsize
            self.storage.read_into(out.view(np.uint8), at)
            return
        Window(self.offset, self.shape, self.strides).read(self.storage.read_into, start, stop, out)

    def block(self, start: int, stop: int) -> npt.NDArray[np.float64]:
        """Elements ``[start, stop)`` in C order, decoded to float64, shape (stop - start,)."""
        raw = np.empty(stop - start, self.dtype.storage)
        self.read(start, stop, raw)
        out = np.empty(stop - start)
        self.dtype.decode(raw, out)
        return out

    def values(self) -> npt.NDArray[np.float64]:
        """All elements, decoded to float64, in this tensor's shape. For small tensors."""
        return self.block(0, self.size).reshape(self.shape)


def expect(tensors: Iterable[Tensor]) -> None:
    """Tell the files of `tensors` that these will be read: one on a server fetches them in one go."""
    ranges: dict[File, list[tuple[int, int]]] = {}
    for tensor in tensors:
        if isinstance(tensor.storage, FileStorage) and tensor.storage.file.fetches and tensor.size:
            ranges.setdefault(tensor.storage.file, []).append(_extent(tensor, tensor.storage))
    for file, wanted in ranges.items():
        file.expect(wanted)


def _extent(tensor: Tensor, storage: FileStorage) -> tuple[int, int]:
    item = tensor.dtype.itemsize
    return storage.start + tensor.offset * item, storage.start + tensor.reach * item
