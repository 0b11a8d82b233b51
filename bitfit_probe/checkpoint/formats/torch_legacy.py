"""What torch.save wrote before PyTorch 1.6: five pickles, then the storages, read without torch."""

from __future__ import annotations

from bitfit_probe.checkpoint.formats import torch_fallback
from bitfit_probe.checkpoint.interface import Checkpoint
from bitfit_probe.checkpoint.storage.tensor import File
from bitfit_probe.checkpoint.torch.naming import NAMING

__all__ = ["NAMING", "matches", "read"]

#: The first pickle behind its protocol: LONG1 of ten bytes, the magic number, STOP.
_HEAD = b"\x8a\x0a" + 0x1950A86A20F9469CFC6C.to_bytes(10, "little") + b"."
#: From protocol 4 on, a frame of nine bytes stands before it.
_PLACES = (2, 11)


def matches(head: bytes, file: File) -> bool:
    """Whether the file starts with the magic number's pickle."""
    return head[:1] == b"\x80" and any(head.startswith(_HEAD, place) for place in _PLACES)


def read(file: File, key: str | None = None) -> Checkpoint:
    """Read the five pickles and find the storages behind them, which stay in the file.

    Raises
    ------
    UnreadableError
        See `bitfit_probe.checkpoint.torch.legacy` and `unwrap`.
    """
    from bitfit_probe.checkpoint.torch.choosing import unwrap
    from bitfit_probe.checkpoint.torch.legacy import Legacy
    from bitfit_probe.checkpoint.torch.state import needs_torch, tensors_of

    found = Legacy.of(file)
    state, notes = unwrap(found.root, key, file.path)
    if needs_torch(state):
        return torch_fallback.read(file, state.key)
    return Checkpoint(file.path, "torch legacy", tensors_of(state, found.finder(), file.path), (file,), notes)
