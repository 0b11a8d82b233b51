"""What the fuzzer feeds: each target takes any bytes, and may end with a BitfitProbeError but nothing else.

No atheris in here: the kept corpus runs through the same functions in the normal suite.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import differential
import judged
import numpy as np
import patches
import tables
from home import HOME, Target, clean_up, empty

from bitfit_probe.checkpoint import Checkpoint, open_checkpoint
from bitfit_probe.errors import UnreadableError

__all__ = ["TARGETS", "clean_up"]

_SMALL = 1 << 16
#: As many storages, and as long, as the recorded ZeRO checkpoints need.
_STORAGES, _STORAGE_BYTES = 9, 256
_GOOD_HEADER = {"w.bias": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}


def _read_all(opened: Checkpoint) -> None:
    """Everything that a diff would touch of a small checkpoint."""
    for tensor in opened.tensors.values():
        if tensor.dtype.decodable and tensor.size <= _SMALL:
            assert tensor.values().shape == tensor.shape
        elif tensor.size:
            tensor.read(tensor.size - 1, tensor.size, np.empty(1, tensor.dtype.storage))
    assert isinstance(opened.config, dict)
    opened.check_unchanged()


def _open(path: Path) -> None:
    try:
        _read_all(open_checkpoint(path))
    except UnreadableError as error:
        told = len(str(error))
    else:
        told = 0
    assert told < 4096, "an error fits on a screen"


def _file(name: str) -> Target:
    def target(data: bytes) -> None:
        path = HOME / name
        path.write_bytes(data)
        _open(path)

    return target


def _container(data: bytes) -> bytes:
    """The file that `data` stands for: as it is, or as the pickle inside a sound archive of either age.

    Bytes added to a pickle move everything behind it, which an archive's directory does not forgive.
    """
    from bad_input.builders import legacy, zipped

    path = HOME / "made.pt"
    if data[:1] == b"Z":
        return zipped(path, data[1:]).read_bytes()
    if data[:1] == b"L":
        return legacy(path, data[1:]).read_bytes()
    return data


def _torch(data: bytes) -> None:
    _file("x.pt")(_container(data))


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _index(data: bytes) -> None:
    """`data` as the index of a folder with one good shard, and as its config."""
    folder = HOME / "sharded"
    folder.mkdir(exist_ok=True)
    header = json.dumps(_GOOD_HEADER).encode()
    _write(folder / "one.safetensors", len(header).to_bytes(8, "little") + header + bytes(16))
    _write(folder / "model.safetensors.index.json", data)
    _write(folder / "config.json", data)
    _open(folder)
    _open(folder / "one.safetensors")


def _distributed(data: bytes) -> None:
    """`data` as a checkpoint of torch.distributed: four bytes of length, the metadata, and one shard."""
    folder = HOME / "distributed"
    folder.mkdir(exist_ok=True)
    end = 4 + int.from_bytes(data[:4], "little")
    _write(folder / ".metadata", data[4:end])
    _write(folder / "__0_0.distcp", data[end:])
    _open(folder)


def _zero(data: bytes) -> None:
    """`data` as DeepSpeed's ZeRO: how many ranks, two bytes of length, the model's pickle, the optimizer's.

    Every rank says the same, in sound archives.
    """
    from bad_input.builders import zipped

    folder = empty("zero")
    ranks, end = 1 + int.from_bytes(data[:1], "little") % 3, 3 + int.from_bytes(data[1:3], "little")
    for kind, program in (("model", data[3:end]), ("optim", data[end:])):
        states = zipped(HOME / "made.pt", program, keys=range(_STORAGES), data=bytes(_STORAGE_BYTES))
        for rank in range(ranks):
            shutil.copyfile(states, folder / f"zero_pp_rank_{rank}_mp_rank_00_{kind}_states.pt")
    _open(folder)


def _directory(data: bytes) -> None:
    """A folder whose files `data` names and fills: a line each of name, kind and content."""
    folder = empty("folder")
    for line in data.split(b"\n")[:16]:
        name, _, rest = line.partition(b"|")
        kind, _, content = rest.partition(b"|")
        _place(folder, os.fsdecode(name), kind, content.replace(b"\\n", b"\n"))
    _open(folder)


def _place(folder: Path, name: str, kind: bytes, content: bytes) -> None:
    path = Path(os.path.normpath(folder / name)) if "\0" not in name else folder
    if folder not in path.parents:
        return
    try:
        # Nothing is written through a link, out of the folder, or into a pipe, which would wait for a reader.
        if os.path.lexists(path) or not path.parent.resolve().is_relative_to(folder.resolve()):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == b"link":
            path.symlink_to(os.fsdecode(content))
        elif kind == b"pipe":
            os.mkfifo(path)
        elif kind == b"folder":
            path.mkdir()
        else:
            path.write_bytes(content)
    except (OSError, RuntimeError, ValueError):  # links that go in circles among them
        return


#: By name: the readers of weights, then everything else that reads what a stranger wrote, then the oracle's.
TARGETS: dict[str, Target] = {
    "safetensors": _file("x.safetensors"),
    "torch": _torch,
    "gguf": _file("x.gguf"),
    "onnx": _file("x.onnx"),
    "distributed": _distributed,
    "zero": _zero,
    "any": _file("x"),
    "index": _index,
    "directory": _directory,
    **judged.TARGETS,
    "patch": patches.patch,
    "table": tables.table,
    "differential": differential.differential,
}
