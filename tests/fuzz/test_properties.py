"""Properties of the readers on inputs that are made to be nearly right."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitfit_probe.checkpoint.formats import safetensors
from bitfit_probe.checkpoint.parsing.bounded_json import parse
from bitfit_probe.checkpoint.storage.tensor import File
from bitfit_probe.checkpoint.torch.unpickle import Inert, describe
from bitfit_probe.errors import CorruptError, TruncatedError, UnreadableError, UnsafeError

HERE = Path("x")
NUMBERS = st.integers(-(1 << 70), 1 << 70) | st.sampled_from([1 << 31, 1 << 63, (1 << 63) - 1])
ATOMS = st.none() | st.booleans() | NUMBERS | st.floats(allow_nan=False) | st.text(max_size=8)
JSON = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
DATA = st.recursive(
    ATOMS | st.binary(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=4)
    ),
)


@given(value=DATA, protocol=st.integers(0, 5))
@settings(deadline=None)
def test_plain_data_is_what_the_real_unpickler_makes_of_it(value: Any, protocol: int) -> None:
    # Bytes take a call of a codec before protocol 3, which stays inert here.
    found = describe(io.BytesIO(pickle.dumps(value, protocol)), HERE).root
    assert _same(found, value)


def _same(found: Any, value: Any) -> bool:
    if isinstance(found, Inert):
        return isinstance(value, bytes)
    if isinstance(value, (list, tuple)):
        return type(found) is type(value) and len(found) == len(value) and all(map(_same, found, value))
    if isinstance(value, dict):
        return found.keys() == value.keys() and all(_same(found[key], value[key]) for key in value)
    return type(found) is type(value) and bool(found == value)


def _text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


NAMES = ["torch._utils\n_rebuild_tensor_v2\n", "torch._tensor\n_rebuild_from_type_v2\n", "torch\nSize\n"]
NAMES += ["collections\nOrderedDict\n", "torch\nFloatStorage\n", "torch\nfloat16\n", "a\nB\n", "os\nsystem\n"]
PLAIN = [bytes([code]) for code in b"()]}Ntld\x85\x86\x87RbsuaeQ012o\x81\x88\x89\x8f\x90\x92\x93\x94"]
GLOBALS = [b"c" + name.encode() for name in NAMES] + [b"ia\nB\n"]
MEMO = [b"h\x00", b"h\x01", b"q\x00", b"q\x01"]
FIGURES = [b"K\x00", b"K\x04", b"J\xff\xff\xff\xff", b"\x8a\x09" + b"\xff" * 8 + b"\0", b"G" + bytes(8)]
TEXTS = [_text(value) for value in ("storage", "0", "a.bias", "")]
OPCODES = st.sampled_from([*PLAIN, *GLOBALS, *MEMO, *FIGURES, *TEXTS])


@given(program=st.lists(OPCODES, max_size=60).map(b"".join))
@settings(deadline=None, max_examples=400)
def test_any_program_ends(program: bytes) -> None:
    with contextlib.suppress(TruncatedError, CorruptError, UnsafeError):
        describe(io.BytesIO(b"\x80\x04" + program + b"."), HERE)


@given(value=JSON)
def test_bounded_json_is_json(value: Any) -> None:
    assert parse(json.dumps(value).encode(), unique=True) == value


@pytest.mark.parametrize("text", [b'{"a":1,"a":1}', b'{"b":{"a":1,"a":2}}'])
def test_keys_may_have_to_be_unique(text: bytes) -> None:
    parse(text)
    with pytest.raises(ValueError, match="stands twice"):
        parse(text, unique=True)


ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "BF16", "F8_E4M3", "BOOL", "C64", "F13", ""]) | JSON,
        "shape": st.lists(NUMBERS | st.integers(0, 4), max_size=4) | JSON,
        "data_offsets": st.lists(st.integers(0, 70), min_size=2, max_size=2) | JSON,
    },
)


@given(header=st.dictionaries(st.text(max_size=4), ENTRIES | JSON, max_size=4))
@settings(deadline=None, max_examples=300)
def test_any_header_is_read_or_refused(
    header: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(64))
    try:
        opened = safetensors.read(File(path))
    except UnreadableError:
        return
    for tensor in opened.tensors.values():
        assert tensor.nbytes <= 64
        if tensor.dtype.decodable:
            assert not tensor.values().any(), "the data are zeros, so nothing else can be read"
