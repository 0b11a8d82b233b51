"""Files that change while they are read, outputs that are whole or absent, and what is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.errors import ChangedError, OutputError, OverwriteError, TruncatedError
from bitfit_probe.outputs import write_files

BIG = torch.arange(300_000.0).reshape(500, 600)


def save_safetensors(path: Path) -> None:
    save_file({"w": BIG}, path)


def save_zip(path: Path) -> None:
    torch.save({"w": BIG}, path)


def save_legacy(path: Path) -> None:
    torch.save({"w": BIG}, path, _use_new_zipfile_serialization=False)


def save_transposed(path: Path) -> None:
    torch.save({"w": BIG.t()}, path)


WRITERS = [save_safetensors, save_zip, save_legacy, save_transposed]


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def rewrite(path: Path) -> None:
    seen = path.stat()
    with path.open("r+b") as stream:
        stream.seek(-9, os.SEEK_END)
        stream.write(b"x")
    # The clock of the file system may be coarser than the time this took.
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns + 1))


def append(path: Path) -> None:
    with path.open("ab") as stream:
        stream.write(b"x")


def replace(path: Path) -> None:
    other, seen = path.with_name("other"), path.stat()
    other.write_bytes(path.read_bytes())
    os.utime(other, ns=(seen.st_atime_ns, seen.st_mtime_ns))  # only the inode tells them apart
    other.rename(path)


@pytest.mark.parametrize("change", [truncate, rewrite, append, replace, Path.unlink])
def test_changes_since_opening_are_noticed(tmp_path: Path, change: Callable[[Path], None]) -> None:
    path = tmp_path / "a.pt"
    save_zip(path)
    opened = open_checkpoint(path)
    opened.check_unchanged()
    change(path)
    with pytest.raises(ChangedError, match=r"a\.pt"):
        opened.check_unchanged()


@pytest.mark.parametrize("write", WRITERS)
def test_a_file_cut_short_while_read_is_an_error_not_a_crash(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    # In a process of its own: reading a cut map would end it with SIGBUS.
    path = tmp_path / "a.pt"
    write(path)
    code = (
        "import os, sys, numpy as np; from bitfit_probe.checkpoint import open_checkpoint\n"
        "from bitfit_probe.errors import TruncatedError\n"
        "tensor = open_checkpoint(sys.argv[1]).tensors['w']\n"
        "tensor.read(0, 10, np.empty(10, '<f4'))\n"
        "os.truncate(sys.argv[1], 4096)\n"
        "try: tensor.values()\n"
        "except TruncatedError: print('told')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "told\n", "")


@pytest.mark.parametrize("write", WRITERS)
def test_a_replaced_file_is_still_read_as_it_was_opened(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    path = tmp_path / "a.pt"
    write(path)
    tensor = open_checkpoint(path).tensors["w"]
    other = tmp_path / "other"
    other.write_bytes(bytes(path.stat().st_size))
    other.rename(path)
    want = BIG.t() if write is save_transposed else BIG
    np.testing.assert_array_equal(tensor.values(), want.numpy())


def test_truncation_after_opening_a_sharded_checkpoint(tmp_path: Path) -> None:
    save_file({"w": BIG}, tmp_path / "one.safetensors")
    (tmp_path / "x.index.json").write_text('{"weight_map": {"w": "one.safetensors"}}')
    opened = open_checkpoint(tmp_path / "x.index.json")
    truncate(tmp_path / "one.safetensors")
    with pytest.raises(TruncatedError, match=r"one\.safetensors"):
        opened.tensors["w"].values()
    with pytest.raises(ChangedError):
        opened.check_unchanged()


# Outputs ----------------------------------------------------------------------------------------------


def test_output_is_written_as_it_is_with_the_umask(tmp_path: Path) -> None:
    out = tmp_path / "out.txt"
    old = os.umask(0o027)
    try:
        write_files([(out, "Δ\r\n")], ())
    finally:
        os.umask(old)
    assert out.read_bytes() == "Δ\r\n".encode()
    assert out.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("step", ["replace", "fsync"])
@pytest.mark.parametrize("problem", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, problem: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise problem

    monkeypatch.setattr(os, step, fail)
    expected = OutputError if isinstance(problem, OSError) else KeyboardInterrupt
    with pytest.raises(expected, match=r"No space left|^$"):
        write_files([(tmp_path / "out.txt", "text")], ())
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_older_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out.txt"
    out.write_text("old")

    def fail(*_: object) -> None:
        raise OSError("no")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OutputError):
        write_files([(out, "new")], ())
    assert out.read_text() == "old"
    monkeypatch.undo()
    write_files([(out, "new")], ())
    assert out.read_text() == "new"


@pytest.mark.parametrize("name", ["missing/out.txt", "folder", "x" * 300, "file/out.txt"])
def test_targets_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OutputError):
        write_files([(tmp_path / name, "text")], ())
    assert sorted(tmp_path.rglob("*")) == before


def test_text_that_is_no_unicode_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        write_files([(tmp_path / "out.txt", "\ud800")], ())
    assert list(tmp_path.iterdir()) == []


def test_a_device_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    # A FIFO stands for /dev/null: nobody wants to risk that one in a test that runs as root.
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="no regular file"):
        write_files([(tmp_path / "pipe", "text")], ())
    assert (tmp_path / "pipe").is_fifo()


def test_inputs_are_never_overwritten(tmp_path: Path) -> None:
    folder, single = tmp_path / "model", tmp_path / "a.pt"
    folder.mkdir()
    for path in (single, folder / "config.json", folder / "shard.bin", folder / "x.index.json"):
        path.write_text("input")
    (tmp_path / "link").symlink_to(single)
    (tmp_path / "inner").symlink_to(folder / "config.json")
    (tmp_path / "hard").hardlink_to(single)
    pairs = [
        (single, single),
        (tmp_path / "link", single),
        (single, tmp_path / "link"),
        (tmp_path / "hard", single),
        (folder / ".." / "a.pt", single),
        (folder / "config.json", folder),
        (tmp_path / "inner", folder),
        (folder / "shard.bin", folder / "x.index.json"),
    ]
    for out, given in pairs:
        with pytest.raises(OverwriteError, match="would overwrite an input"):
            write_files([(out, "text")], [tmp_path / "absent", given])
    assert {path.read_text() for path in tmp_path.rglob("*") if path.is_file()} == {"input"}
    write_files([(folder / "new.txt", "text")], [folder])
    assert (folder / "new.txt").read_text() == "text"


# Imports ----------------------------------------------------------------------------------------------


def test_reading_imports_no_torch(tmp_path: Path) -> None:
    save_safetensors(tmp_path / "a.safetensors")
    save_zip(tmp_path / "b.pt")
    save_legacy(tmp_path / "c.pt")
    save_transposed(tmp_path / "d.pt")
    code = (
        "import sys; from bitfit_probe.checkpoint import open_checkpoint\n"
        "for path in sys.argv[1:]: print(open_checkpoint(path).tensors['w'].values().sum())\n"
        "heavy = {'torch', 'pandas', 'transformers', 'safetensors', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *sorted(tmp_path.iterdir())], capture_output=True, text=True, check=True
    )
    total = float(BIG.double().sum())
    assert done.stdout.splitlines() == [str(total)] * 4 + ["[]"]


# What lies around the weights --------------------------------------------------------------------------


def model(folder: Path) -> Path:
    save_file({"a.bias": torch.ones(2)}, folder / "one.safetensors")
    save_file({"b.bias": torch.ones(2)}, folder / "two.safetensors")
    index = '{"weight_map": {"a.bias": "one.safetensors", "b.bias": "two.safetensors"}}'
    (folder / "model.safetensors.index.json").write_text(index)
    (folder / "config.json").write_text('{"model_type": "bert"}')
    return folder


@pytest.mark.parametrize(
    "name", ["model.safetensors.index.json", "one.safetensors", "two.safetensors", "config.json"]
)
@pytest.mark.parametrize("change", [rewrite, append, replace, Path.unlink])
def test_indexes_shards_and_configs_are_watched_too(
    tmp_path: Path, name: str, change: Callable[[Path], None]
) -> None:
    opened = open_checkpoint(model(tmp_path))
    assert opened.config == {"model_type": "bert"}
    opened.check_unchanged()
    change(tmp_path / name)
    with pytest.raises(ChangedError):
        opened.check_unchanged()


def test_weights_that_would_now_be_read_instead_are_noticed(tmp_path: Path) -> None:
    opened = open_checkpoint(model(tmp_path))
    (tmp_path / "notes.txt").write_text("not a weight")
    (tmp_path / "three.safetensors").write_bytes(b"of no standard name")
    opened.check_unchanged()
    save_file({"a.bias": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(ChangedError, match="came or went"):
        opened.check_unchanged()


def test_a_folder_that_is_gone_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"a.bias": torch.ones(2)}, folder / "model.safetensors")
    opened = open_checkpoint(folder)
    folder.rename(tmp_path / "moved")
    with pytest.raises(ChangedError):
        opened.check_unchanged()
