"""safetensors: eight bytes of header length, a JSON header, then the tensors' bytes.

The format and its limits: https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

from bitfit_probe.checkpoint.foreign import FLAX_ADVICE, TF_ADVICE
from bitfit_probe.checkpoint.interface import Checkpoint
from bitfit_probe.checkpoint.parsing.bounded_json import MAX_BYTES, parse
from bitfit_probe.checkpoint.registry import INDEX_END, Naming
from bitfit_probe.checkpoint.storage.dtypes import BY_NAME
from bitfit_probe.checkpoint.storage.tensor import MAX_AXES, File, FileStorage, Tensor
from bitfit_probe.errors import CorruptError, TruncatedError, UnreadableError, UnsupportedError

__all__ = ["CODES", "NAMING", "matches", "read", "read_metadata"]

NAMING = Naming(
    suffixes=(".safetensors",),
    standard=("model.safetensors", f"model.safetensors{INDEX_END}"),
    adapters=("adapter_model.safetensors", "adapters.safetensors"),
)

_LENGTH_BYTES = 8
_TOO_LARGE = 1 << 63

_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
    "C64": "complex64",
}

#: Codes by the name that PyTorch gives the type.
CODES = {name: code for code, name in _DTYPES.items()}


def matches(head: bytes, file: File) -> bool:
    """Whether a JSON object follows the eight bytes of a header length."""
    named = file.path.suffix in NAMING.suffixes
    return head[8:9] == b"{" or (named and not head.startswith((b"\x80", b"PK\x03\x04")))


def read(file: File, key: str | None = None) -> Checkpoint:
    """Read the header; the tensors stay in the file.

    Raises
    ------
    TruncatedError
        The file ends before the header or the data it announces.
    CorruptError
        The header is no valid one, or sizes and offsets contradict each other.
    """
    header, start = _header(file)
    _refuse_foreign(file, header.pop("__metadata__", None))
    tensors = {name: _tensor(file, name, entry, start) for name, entry in header.items()}
    _check_disjoint(file, tensors)
    return Checkpoint(file.path, "safetensors", tensors, (file,))


def _refuse_foreign(file: File, metadata: Any) -> None:
    """Refuse the layouts of other frameworks, whose matrices are turned and whose names are others."""
    written_by = metadata.get("format") if isinstance(metadata, dict) else None
    if written_by in ("flax", "tf"):
        raise UnsupportedError(
            f"safetensors in the layout of {'Flax' if written_by == 'flax' else 'TensorFlow'}",
            advice=FLAX_ADVICE if written_by == "flax" else TF_ADVICE,
            path=file.path,
        )


def read_metadata(file: File) -> tuple[dict[str, str], int]:
    """The strings under ``__metadata__``, and where the tensors' bytes begin."""
    header, start = _header(file)
    found = header.get("__metadata__", {})
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise _corrupt(file, "the header's metadata are no strings by name")
    return found, start


def _header(file: File) -> tuple[dict[str, Any], int]:
    if file.size < _LENGTH_BYTES:
        raise TruncatedError("too short for safetensors", advice="copy or download it again", path=file.path)
    length = int.from_bytes(file.read(0, _LENGTH_BYTES), "little")
    if length > MAX_BYTES:  # the reference implementation draws the line at 100 MB
        raise CorruptError(
            f"the header claims {length:,} bytes, more than the {MAX_BYTES:,} that are read",
            advice="check that this really is a safetensors file, and download it again",
            path=file.path,
        )
    if _LENGTH_BYTES + length > file.size:
        raise TruncatedError(
            f"the header claims {length:,} bytes, but the file has {file.size:,}",
            advice="copy or download it again",
            path=file.path,
        )
    try:
        header = parse(file.read(_LENGTH_BYTES, length), unique=True)
    except ValueError as error:
        raise _corrupt(file, f"the header is no valid JSON ({error})") from error
    if not isinstance(header, dict):
        raise _corrupt(file, "the header is no JSON object")
    return header, _LENGTH_BYTES + length


def _corrupt(file: File, what: str) -> UnreadableError:
    return CorruptError(what, advice="copy or download it again", path=file.path)


def _tensor(file: File, name: str, entry: Any, start: int) -> Tensor:
    try:
        shape, (begin, end), code = tuple(entry["shape"]), entry["data_offsets"], entry["dtype"]
    except (TypeError, KeyError, ValueError) as error:
        raise _corrupt(file, f"the header's entry for {name!r} is incomplete") from error
    numbers = (*shape, begin, end)
    if {*map(type, numbers)} != {int} or min(numbers) < 0 or max(numbers) >= _TOO_LARGE:
        raise _corrupt(file, f"the header's entry for {name!r} has a size that is no whole number of 64 bits")
    if len(shape) > MAX_AXES:  # the product below would take its time over a million of them
        raise _corrupt(file, f"{name!r} has {len(shape):,} axes")
    if not isinstance(code, str) or code not in _DTYPES:
        raise UnsupportedError(
            f"{name!r} has the element type {code!r}, which is not read",
            advice="convert the file to float32, float16 or bfloat16",
            path=file.path,
        )
    dtype = BY_NAME[_DTYPES[code]]
    if math.prod(shape) * dtype.itemsize != end - begin:
        raise _corrupt(file, f"{name!r} has a shape and a number of bytes that don't agree")
    if start + end > file.size:
        raise TruncatedError(
            f"the data of {name!r} would end behind the end of the file",
            advice="copy or download it again",
            path=file.path,
        )
    try:
        return Tensor.contiguous(name, dtype, shape, FileStorage(file, start + begin, end - begin))
    except ValueError as error:
        raise _corrupt(file, str(error)) from error


def _check_disjoint(file: File, tensors: dict[str, Tensor]) -> None:
    ranges = sorted(
        (storage.start, storage.start + storage.nbytes, name)
        for name, tensor in tensors.items()
        if isinstance(storage := tensor.storage, FileStorage) and storage.nbytes
    )
    for (_, end, name), (begin, _, other) in itertools.pairwise(ranges):
        if begin < end:
            raise _corrupt(file, f"the data of {name!r} and {other!r} overlap")
