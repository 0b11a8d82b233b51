"""Broken files, one line each: what is given, and the error that it gets."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from bad_input.builders import legacy, safetensors, tensor_pickle, zipped
from safetensors.torch import save_file

from bitfit_probe.checkpoint import open_checkpoint

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 4\n"
HTML = b"\n<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>"


def entry(**changes: object) -> dict[str, object]:
    return {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} | changes


def plain(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def st(header: object, **options: object) -> Callable[[Path], Path]:
    return lambda folder: safetensors(folder / "x.safetensors", header, **options)  # type: ignore[arg-type]


def zip_(program: bytes = b"", **options: object) -> Callable[[Path], Path]:
    return lambda folder: zipped(folder / "x.pt", program or tensor_pickle(), **options)  # type: ignore[arg-type]


def old(program: bytes = b"", **options: object) -> Callable[[Path], Path]:
    return lambda folder: legacy(folder / "x.pt", program or tensor_pickle(), **options)  # type: ignore[arg-type]


def twice(folder: Path) -> Path:
    with zipfile.ZipFile(zipped(folder / "x.pt", tensor_pickle()), "a") as archive:
        archive.writestr("a/data/0", bytes(16))
    return folder / "x.pt"


def patched(make: Callable[[Path], Path], at: Callable[[bytes], int], new: bytes) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        path = make(folder)
        data = bytearray(path.read_bytes())
        place = at(bytes(data))
        data[place : place + len(new)] = new
        path.write_bytes(data)
        return path

    return build


def npz(folder: Path) -> Path:
    np.savez(folder / "x.npz", w=np.ones(3))
    return folder / "x.npz"


def gone(folder: Path) -> Path:
    return folder / "absent.pt"


DEEP = b'{"a":' * 100_000
CASES: dict[str, tuple[Callable[[Path], Path], tuple[str, ...]]] = {
    # what stands there instead of the file
    "absent": (gone, ("BE101",)),
    "name too long": (lambda folder: folder / ("x" * 300), ("BE101",)),
    "empty": (plain("x.pt", b""), ("BE102",)),
    "empty safetensors": (plain("x.safetensors", b""), ("BE102",)),
    "text": (plain("x.pt", b"hello"), ("BE103",)),
    "random bytes": (plain("x.bin", bytes(range(256)) * 4), ("BE103",)),
    "lfs .bin": (plain("x.bin", LFS), ("BE104",)),
    "lfs .safetensors": (plain("x.safetensors", LFS), ("BE104",)),
    "html .bin": (plain("x.bin", HTML), ("BE105",)),
    "html .safetensors": (plain("x.safetensors", HTML), ("BE105",)),
    "xml": (plain("x.pt", b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"), ("BE105",)),
    "gzip": (plain("x.pt.gz", gzip.compress(b"x" * 100)), ("BE113",)),
    "gguf": (plain("x.gguf", b"GGUF\x03\0\0\0" + bytes(50)), ("BE107",)),
    "hdf5": (plain("x.h5", b"\x89HDF\r\n\x1a\n" + bytes(50)), ("BE113",)),
    "npy": (plain("x.npy", b"\x93NUMPY\x01\0" + bytes(50)), ("BE113",)),
    "npz": (npz, ("BE103",)),
    "empty zip": (plain("x.pt", b"PK\x05\x06" + bytes(18)), ("BE103",)),
    "tar of nothing": (plain("x.tar", bytes(257) + b"ustar\x0000" + bytes(800)), ("BE113",)),
    # safetensors: the header's length
    "header of 2^63": (st(b"{}", length=1 << 63), ("BE107",)),
    "header of 2^64-1": (st(b"{}", length=(1 << 64) - 1), ("BE107",)),
    "header over the limit": (st(b"{}", length=100_000_001), ("BE107",)),
    "header longer than the file": (st(b"{}", length=1000), ("BE106",)),
    "header of 0": (st(b"", length=0), ("BE107",)),
    "seven bytes": (plain("x.safetensors", b"\x08\0\0\0\0\0\0"), ("BE106",)),
    # safetensors: the header
    "header no JSON": (st(b"{abcdefg"), ("BE107",)),
    "header cut": (st(b'{"a":{"dtype":"F32"'), ("BE107",)),
    "header an array": (st([1, 2]), ("BE107",)),
    "header no UTF-8": (st(b'{"\xff\xfe":1}'), ("BE107",)),
    "header deep in arrays": (st(b'{"a":' + b"[" * 100_000), ("BE107",)),
    "header deep in objects": (st(DEEP), ("BE107",)),
    "number of 10,000 digits": (st(b'{"a":{"dtype":"F32","shape":[' + b"9" * 10_000 + b"]}}"), ("BE107",)),
    "no tensors": (st({"__metadata__": {"format": "pt"}}), ("BE111",)),
    "key twice": (
        st(
            b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'
        ),
        ("BE107",),
    ),
    "entry no object": (st({"a": 3}), ("BE107",)),
    "entry without dtype": (st({"a": {"shape": [4], "data_offsets": [0, 16]}}), ("BE107",)),
    "one offset": (st({"a": entry(data_offsets=[0])}), ("BE107",)),
    "negative shape": (st({"a": entry(shape=[-4])}), ("BE107",)),
    "two negative sizes": (st({"a": entry(shape=[-2, -2])}), ("BE107",)),
    "float shape": (st({"a": entry(shape=[4.0])}), ("BE107",)),
    "true shape": (st({"a": entry(shape=[True], data_offsets=[0, 4])}), ("BE107",)),
    "text shape": (st({"a": entry(shape="4")}), ("BE107",)),
    "NaN shape": (st(b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,16]}}'), ("BE107",)),
    "huge shape": (st({"a": entry(shape=[1 << 62, 1 << 62])}), ("BE107",)),
    "huge shape of nothing": (st({"a": entry(shape=[0, 1 << 62], data_offsets=[0, 0])}), ("BE107",)),
    "65 axes": (st({"a": entry(shape=[1] * 65, data_offsets=[0, 4])}), ("BE107",)),
    "shape and bytes disagree": (st({"a": entry(shape=[5])}), ("BE107",)),
    "offsets outside the file": (st({"a": entry(data_offsets=[16, 32])}), ("BE106",)),
    "offsets backwards": (st({"a": entry(data_offsets=[16, 0])}), ("BE107",)),
    "negative offset": (st({"a": entry(data_offsets=[-16, 0])}), ("BE107",)),
    "overlap": (st({"a": entry(), "b": entry(data_offsets=[8, 24])}, data=bytes(24)), ("BE107",)),
    "the same bytes twice": (st({"a": entry(), "b": entry()}), ("BE107",)),
    "unknown dtype": (st({"a": entry(dtype="F13")}), ("BE113",)),
    "dtype no text": (st({"a": entry(dtype=["F32"])}), ("BE113",)),
    # zip
    "only the first bytes of a zip": (plain("x.pt", b"PK\x03\x04" + bytes(100)), ("BE106",)),
    "compressed": (zip_(compression=zipfile.ZIP_DEFLATED), ("BE113",)),
    "entry twice": (twice, ("BE107",)),
    "big-endian": (zip_(byteorder=b"big"), ("BE113",)),
    "storage missing": (zip_(tensor_pickle(key="7")), ("BE107",)),
    "storage key a path": (zip_(tensor_pickle(key="../../../etc/passwd")), ("BE107",)),
    "storage key no text": (zip_(tensor_pickle(key=0)), ("BE107",)),
    "storage count forged": (zip_(tensor_pickle(count=1 << 40)), ("BE107",)),
    "storage of an unknown kind": (zip_(tensor_pickle(kind=torch.nn.Linear)), ("BE113",)),
    "shape outside": (zip_(tensor_pickle(shape=(5,))), ("BE107",)),
    "stride outside": (zip_(tensor_pickle(shape=(2,), strides=(4,))), ("BE107",)),
    "offset outside": (zip_(tensor_pickle(offset=1)), ("BE107",)),
    "offset negative": (zip_(tensor_pickle(offset=-1)), ("BE107",)),
    "stride negative": (zip_(tensor_pickle(strides=(-1,))), ("BE107",)),
    "shape negative": (zip_(tensor_pickle(shape=(-4,))), ("BE107",)),
    "shape a float": (zip_(tensor_pickle(shape=(4.0,))), ("BE107",)),
    "shape of 100 bits": (zip_(tensor_pickle(shape=(1 << 100,), strides=(0,))), ("BE107",)),
    "one element repeated 2^40 times": (zip_(tensor_pickle(shape=(1 << 40,), strides=(0,))), ("BE107",)),
    "one stride too few": (zip_(tensor_pickle(shape=(2, 2), strides=(1,))), ("BE107",)),
    "99 axes": (zip_(tensor_pickle(shape=(1,) * 99, strides=(1,) * 99)), ("BE107",)),
    "entry's offset outside the file": (
        patched(zip_(), lambda data: data.rindex(b"PK\x01\x02") + 42, b"\xff\xff\xff\x7f"),
        ("BE106", "BE107"),
    ),
    "entry longer than the file": (
        patched(zip_(), lambda data: data.rindex(b"PK\x01\x02") + 20, b"\xff\xff\xff\x7f" * 2),
        ("BE107",),
    ),
    "entry without its local header": (
        patched(zip_(), lambda data: data.index(b"PK\x03\x04", 4), b"XXXX"),
        ("BE107",),
    ),
    "encrypted": (patched(zip_(), lambda data: data.index(b"PK\x01\x02") + 8, b"\x01\0"), ("BE113",)),
    "pickle said to be huge": (
        patched(zip_(), lambda data: data.index(b"PK\x01\x02") + 20, b"\0\0\0\x70" * 2),
        ("BE107",),
    ),
    # legacy
    "legacy magic": (old(magic=7), ("BE113",)),
    "legacy big-endian": (old(little=False), ("BE113",)),
    "legacy storage missing": (old(keys=()), ("BE107",)),
    "legacy storage of nothing": (old(keys=("0", "1")), ("BE107",)),
    "legacy keys no texts": (old(keys=(0,)), ("BE107",)),
    "legacy count too large": (old(count=1 << 62), ("BE106",)),
    "legacy count too small": (old(count=3), ("BE107",)),
    "legacy shape outside": (old(tensor_pickle(shape=(5,))), ("BE107",)),
    "legacy offset outside": (old(tensor_pickle(offset=4)), ("BE107",)),
    "legacy count no number": (old(tensor_pickle(count="4")), ("BE107",)),
    "legacy view outside": (old(tensor_pickle(view=(("v", 2, 4),))), ("BE107",)),
    "legacy view negative": (old(tensor_pickle(view=(("v", -2, 4),))), ("BE107",)),
    "legacy view no numbers": (old(tensor_pickle(view=(("v", "2", 4),))), ("BE107",)),
    "legacy view too short": (old(tensor_pickle(view=(("v",),))), ("BE107",)),
    # directories
    "empty directory": (lambda folder: folder, ("BE102",)),
}


@pytest.mark.parametrize("case", CASES)
def test_broken_file(case: str, tmp_path: Path, refused: Callable[..., str]) -> None:
    make, codes = CASES[case]
    folder = tmp_path / "given"
    folder.mkdir()
    refused(make(folder), *codes)


def test_there_is_a_good_file_behind_the_builders(tmp_path: Path) -> None:
    # Otherwise the refusals above might have reasons of their own.
    for path in (
        zipped(tmp_path / "a", tensor_pickle()),
        legacy(tmp_path / "b", tensor_pickle(view=(None,))),
        safetensors(tmp_path / "c", {"layer.bias": entry()}),
    ):
        assert open_checkpoint(path).tensors["layer.bias"].values().tolist() == [0.0] * 4
    assert list(torch.load(tmp_path / "a")) == list(torch.load(tmp_path / "b")) == ["layer.bias"]


# Truncation -------------------------------------------------------------------------------------------


def write(path: Path, kind: str) -> bytes:
    state = {"layer.bias": torch.arange(64.0), "layer.weight": torch.ones(16, 16)}
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    return path.read_bytes()


@pytest.mark.parametrize("share", [0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_cut_anywhere(kind: str, share: float, tmp_path: Path, refused: Callable[..., str]) -> None:
    path = tmp_path / "cut.safetensors"
    whole = write(path, kind)
    path.write_bytes(whole[: max(int(len(whole) * share) - 1, 16)])
    refused(path, "BE106")


# Directories and indexes ------------------------------------------------------------------------------


def shards(folder: Path, weight_map: object) -> Path:
    folder.mkdir(exist_ok=True)
    save_file({"w": torch.ones(2)}, folder / "one.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


@pytest.mark.parametrize(
    ("weight_map", "code"),
    [
        ({"w": "../../secret/x.safetensors"}, "BE109"),
        ({"w": "../secret.safetensors"}, "BE109"),
        ({"w": "sub/../../secret.safetensors"}, "BE109"),
        ({"w": "/etc/passwd"}, "BE109"),
        ({"w": "/dev/zero"}, "BE109"),
        ({"w": "link.safetensors"}, "BE109"),
        ({"w": "out/secret.safetensors"}, "BE109"),
        ({"w": "x\0y"}, "BE109"),
        ({"w": "x\x1b[31m\n"}, "BE109"),
        ({"w": "loop.safetensors"}, "BE110"),
        ({"w": "two.safetensors"}, "BE110"),
        ({"w": "x" * 300}, "BE110"),
        ({"w": ""}, "BE110"),
        ({"w": "."}, "BE110"),
        ({"w": "pipe.safetensors"}, "BE110"),
        ({"w": "one.safetensors", "v": "one.safetensors"}, "BE110"),
        ({"w": 3}, "BE107"),
        ({"w": None}, "BE107"),
        ({}, "BE107"),
        (["one.safetensors"], "BE107"),
        ("one.safetensors", "BE107"),
        (None, "BE107"),
    ],
)
def test_index(weight_map: object, code: str, tmp_path: Path, refused: Callable[..., str]) -> None:
    save_file({"w": torch.ones(2)}, tmp_path / "secret.safetensors")
    folder = shards(tmp_path / "model", weight_map)
    (folder / "sub").mkdir()
    (folder / "link.safetensors").symlink_to(tmp_path / "secret.safetensors")
    (folder / "out").symlink_to(tmp_path)
    (folder / "loop.safetensors").symlink_to("loop.safetensors")
    os.mkfifo(folder / "pipe.safetensors")
    refused(folder, code)
    refused(folder / "model.safetensors.index.json", code, named="model")


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"weight_map": ' + "[" * 100_000])
def test_index_that_is_no_index(text: str, tmp_path: Path, refused: Callable[..., str]) -> None:
    path = tmp_path / "x.index.json"
    path.write_text(text)
    refused(path, "BE107")


def test_a_broken_shard_is_named_itself(tmp_path: Path, refused: Callable[..., str]) -> None:
    folder = shards(tmp_path / "model", {"w": "one.safetensors"})
    (folder / "one.safetensors").write_bytes(LFS)
    refused(folder, "BE104", named="one.safetensors")


def test_directories_without_a_model(tmp_path: Path, refused: Callable[..., str]) -> None:
    adapter, trainer, several = (tmp_path / name for name in ("adapter", "trainer", "several"))
    for folder in (adapter, trainer / "checkpoint-10", several):
        folder.mkdir(parents=True)
    save_file({"w": torch.ones(2)}, adapter / "adapter_model.safetensors")
    save_file({"w": torch.ones(2)}, trainer / "checkpoint-10" / "model.safetensors")
    for name in ("a.pt", "b.pt"):
        torch.save({"w": torch.ones(2)}, several / name)
    assert "adapter_config.json" in refused(adapter, "BE113")
    assert "checkpoint-10" in refused(trainer, "BE102")
    assert "a.pt, b.pt" in refused(several, "BE112")


def test_several_state_dicts_need_a_key(tmp_path: Path, refused: Callable[..., str]) -> None:
    torch.save({"left": {"w": torch.ones(2)}, "right": {"w": torch.ones(2)}}, tmp_path / "x.pt")
    assert "left, right" in refused(tmp_path / "x.pt", "BE112")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_module_without_values_yet_is_refused(tmp_path: Path, refused: Callable[..., str]) -> None:
    for new in (True, False):
        torch.save(torch.nn.LazyLinear(2), tmp_path / "x.pt", _use_new_zipfile_serialization=new)
        refused(tmp_path / "x.pt", "BE113")


def test_file_names_with_control_characters_stay_on_one_line(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    path = tmp_path / "a\n\x1b[31mb.pt"
    path.write_bytes(b"")
    assert r"a\n\x1b[31mb.pt" in refused(path, "BE102", named="b.pt")


# Processes of their own -------------------------------------------------------------------------------


def run(*args: str | Path) -> subprocess.CompletedProcess[str]:
    # The limit only ends a process that hangs; nothing is measured.
    command = [sys.executable, "-m", "bitfit_probe", "diff", *map(str, args)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL
    )


@pytest.mark.parametrize("name", ["/dev/zero", "pipe", "pipe.index.json", "/dev/null"])
def test_devices_and_pipes_are_refused_without_waiting(name: str, tmp_path: Path, good: Path) -> None:
    path = tmp_path / name  # an absolute name stays what it is
    if not path.exists():
        os.mkfifo(path)
    done = run(good, path, "--out", tmp_path / "out.txt")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error BE103: {path}: not a regular file; ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out.txt").exists()


def test_the_command_itself_ends_with_2_and_one_line(tmp_path: Path, good: Path) -> None:
    (tmp_path / "x.bin").write_bytes(LFS)
    done = run(tmp_path / "x.bin", good)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"error BE104: {tmp_path / 'x.bin'}: ")


def test_an_input_is_never_the_output(tmp_path: Path, good: Path) -> None:
    before = good.read_bytes()
    done = run(good, good, "--out", good)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("error BE301: ")
    assert good.read_bytes() == before
