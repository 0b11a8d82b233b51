"""What torch.save has written since PyTorch 1.6: a zip archive, read without torch. TorchScript as well."""

from __future__ import annotations

from bitfit_probe.checkpoint.formats import torch_fallback
from bitfit_probe.checkpoint.interface import Checkpoint
from bitfit_probe.checkpoint.storage.tensor import File
from bitfit_probe.checkpoint.torch.naming import NAMING

__all__ = ["NAMING", "matches", "read"]


def matches(head: bytes, file: File) -> bool:
    """Whether the file starts as a zip archive does."""
    return head.startswith(b"PK\x03\x04")


def read(file: File, key: str | None = None) -> Checkpoint:
    """Read the archive's directory and its pickle; the storages stay in the file.

    Raises
    ------
    UnreadableError
        See `Archive` and `unwrap`.
    """
    from bitfit_probe.checkpoint.torch import script
    from bitfit_probe.checkpoint.torch.archive import Archive
    from bitfit_probe.checkpoint.torch.choosing import unwrap
    from bitfit_probe.checkpoint.torch.state import needs_torch, tensors_of
    from bitfit_probe.checkpoint.torch.trainers import notes_of

    archive = Archive(file)
    if archive.is_script:
        tensors = tensors_of(script.state_of(archive.root, file.path), archive.storage, file.path)
        return Checkpoint(file.path, "TorchScript", tensors, (file,))
    state, notes = unwrap(archive.root, key, file.path)
    if needs_torch(state):
        return torch_fallback.read(file, state.key)
    tensors = tensors_of(state, archive.storage, file.path)
    archive.check_disjoint()
    return Checkpoint(file.path, "torch zip", tensors, (file,), (*notes, *notes_of(archive.root)))
