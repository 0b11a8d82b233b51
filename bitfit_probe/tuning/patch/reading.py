"""A patch read back, every byte of it checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bitfit_probe.checkpoint import Tensor
from bitfit_probe.checkpoint.formats.safetensors import read, read_metadata
from bitfit_probe.checkpoint.storage.tensor import File
from bitfit_probe.errors import DamagedPatchError, UnreadableError
from bitfit_probe.tuning.fingerprint import tensor_sha256
from bitfit_probe.tuning.patch.manifest import Manifest
from bitfit_probe.tuning.patch.schema import Entry

__all__ = ["Patch", "open_patch"]


@dataclass(frozen=True)
class Patch:
    """A patch whose values were found to be what was written.

    Attributes
    ----------
    path
        Its file.
    manifest
        What it says about itself and its base.
    tensors
        What it holds, under the tuned model's names.
    file
        The file, held open.
    """

    path: Path
    manifest: Manifest
    tensors: dict[str, Tensor]
    file: File

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.file.size


def open_patch(path: str | Path) -> Patch:
    """Open a patch and check every value in it.

    Raises
    ------
    NotFoundError
        There is no such file.
    UnknownFormatError
        It is a directory or a device.
    DamagedPatchError
        It is no patch, is cut short, some of its bytes are not those that were written, or what it says of
        itself can't be (`bitfit_probe.tuning.patch.schema`).
    """
    path = Path(path)
    file = File(path)
    try:
        metadata, end = read_metadata(file)
        tensors = dict(read(file).tensors)
    except UnreadableError as error:
        raise DamagedPatchError(error.what, advice=error.advice, path=path) from error
    manifest = Manifest.from_metadata(metadata, path)
    found = {name: Entry.of(tensor, tensor_sha256(tensor)) for name, tensor in tensors.items()}
    wrong = sorted(
        name for name in {*found, *manifest.tensors} if found.get(name) != manifest.tensors.get(name)
    )
    if wrong:
        raise DamagedPatchError(
            f"{len(wrong)} of its tensors are not what was written ({wrong[0]} for one)",
            advice="copy or download it again",
            path=path,
        )
    if end + sum(tensor.nbytes for tensor in tensors.values()) != file.size:
        raise DamagedPatchError(
            "has bytes that belong to nothing", advice="copy or download it again", path=path
        )
    return Patch(path, manifest, tensors, file)
