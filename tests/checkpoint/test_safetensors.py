"""safetensors files against the reference implementation."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import save as save_arrays
from safetensors.torch import save, save_file

from bitfit_probe.checkpoint import Checkpoint, open_checkpoint
from bitfit_probe.errors import BitfitProbeError, UnsupportedError

Same = Callable[[Checkpoint, dict[str, torch.Tensor]], None]


def test_every_dtype(tmp_path: Path, every_dtype: dict[str, torch.Tensor], same: Same) -> None:
    save_file(every_dtype, tmp_path / "a.safetensors", {"format": "pt", "note": "{"})
    opened = open_checkpoint(tmp_path / "a.safetensors")
    assert set(opened.tensors) == set(every_dtype)
    same(opened, {name: every_dtype[name] for name in opened.tensors})
    assert opened.format == "safetensors"
    assert opened.parameters == sum(tensor.numel() for tensor in every_dtype.values())


def test_file_without_metadata_and_with_another_suffix(tmp_path: Path, same: Same) -> None:
    tensors = {"w": torch.arange(4.0)}
    (tmp_path / "weights.bin").write_bytes(save(tensors))
    same(open_checkpoint(tmp_path / "weights.bin"), tensors)


def test_safetensors_claims_no_checksum(tmp_path: Path) -> None:
    save_file({"w": torch.ones(3)}, tmp_path / "a.safetensors")
    assert open_checkpoint(tmp_path / "a.safetensors").tensors["w"].crc32 is None


def test_a_torch_archive_under_this_suffix_is_read_as_what_it_is(tmp_path: Path, same: Same) -> None:
    tensors = {"w": torch.arange(4.0)}
    torch.save(tensors, tmp_path / "model.safetensors")
    opened = open_checkpoint(tmp_path / "model.safetensors")
    same(opened, tensors)
    assert opened.format == "torch zip"


@pytest.mark.parametrize(
    "magic", [b"\x93NUMPY\x01\0v\0", b"\x89HDF\r\n\x1a\n\0\0", b"\x1f\x8b\x08\0\0\0\0\0\0\x03"]
)
def test_another_known_format_under_this_suffix_is_named(tmp_path: Path, magic: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(magic + bytes(64))
    with pytest.raises(UnsupportedError):
        open_checkpoint(path)


def test_a_header_length_that_spells_gzip_is_still_a_length(tmp_path: Path, same: Same) -> None:
    # 0x8b1f bytes of header: the file begins as a gzip archive does.
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode().ljust(0x8B1F)
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + np.float32(2.5).tobytes())
    same(open_checkpoint(path), {"w": torch.tensor([2.5])})


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    "__metadata__".__ne__
)
ARRAYS = hnp.arrays(
    st.sampled_from([np.dtype(name) for name in ("f4", "f2", "f8", "i8", "i4", "i2", "i1", "u1", "?")]),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)


@given(arrays=st.dictionaries(NAMES, ARRAYS, min_size=1, max_size=5))
def test_round_trip(arrays: dict[str, np.ndarray]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.safetensors")
        path.write_bytes(save_arrays(arrays))
        opened = open_checkpoint(path)
        assert set(opened.tensors) == set(arrays)
        for name, array in arrays.items():
            tensor = opened.tensors[name]
            raw = np.empty(tensor.size, tensor.dtype.storage)
            tensor.read(0, tensor.size, raw)
            assert tensor.shape == array.shape
            assert raw.tobytes() == array.tobytes()


VALID = save({"a": torch.arange(3.0), "layer.0.bias": torch.ones(2, 2, dtype=torch.bfloat16)})


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_damage_is_read_or_reported(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(VALID)))
    kind = data.draw(st.sampled_from(["flip", "cut", "insert", "delete"]))
    bite = data.draw(st.binary(min_size=1, max_size=8))
    damaged = {
        "flip": VALID[:at] + bite + VALID[at + len(bite) :],
        "cut": VALID[:at],
        "insert": VALID[:at] + bite + VALID[at:],
        "delete": VALID[:at] + VALID[at + len(bite) :],
    }[kind]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.safetensors")
        path.write_bytes(damaged)
        problem = None
        try:
            for tensor in open_checkpoint(path).tensors.values():
                if tensor.dtype.decodable:
                    assert tensor.values().shape == tensor.shape
        except BitfitProbeError as error:
            problem = error
        assert problem is None or problem.path == path
