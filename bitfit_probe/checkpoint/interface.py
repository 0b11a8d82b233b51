"""What every checkpoint looks like to the rest, whatever container it came in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitfit_probe.checkpoint.tensor import File, Tensor

if TYPE_CHECKING:
    from bitfit_probe.checkpoint.adapters.interface import Adapter

__all__ = ["Checkpoint", "read_json"]

#: A config or trainer state beyond this is no such file; tokenizers reach a few tens of MB.
_MAX_JSON_BYTES = 64 << 20


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in `path`; None where there is no file or no object in it."""
    try:
        if path.stat().st_size > _MAX_JSON_BYTES or not path.is_file():
            return None
        loaded = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return loaded if isinstance(loaded, dict) else None


@dataclass(frozen=True)
class Checkpoint:
    """Named tensors in files, with what lies beside them.

    Attributes
    ----------
    path
        What the caller named: a file or a directory.
    format
        The container in words, such as ``safetensors`` or ``torch zip, sharded in 3``.
    tensors
        Every tensor by the name that the file gives it, in the file's order.
    files
        The files that the tensors lie in.
    notes
        What a person should know about how it was read.
    siblings
        Other weight files in the same directory that were left alone.
    adapter
        What a PEFT adapter changes in its base, where it is one; `tensors` are then the file's own.
    """

    path: Path
    format: str
    tensors: Mapping[str, Tensor]
    files: tuple[File, ...]
    notes: tuple[str, ...] = ()
    siblings: tuple[Path, ...] = field(default=())
    adapter: Adapter | None = None

    @property
    def folder(self) -> Path:
        """The directory in which config, tokenizer and trainer state lie, if they do."""
        return self.path if self.path.is_dir() else self.path.parent

    @cached_property
    def config(self) -> dict[str, Any]:
        """The model's config.json; empty where there is none."""
        return self.read_json("config.json") or {}

    def read_json(self, name: str) -> dict[str, Any] | None:
        """A JSON object that lies beside the weights, such as ``trainer_state.json``."""
        return read_json(self.folder / name)

    @property
    def parameters(self) -> int:
        """Number of elements in all tensors."""
        return sum(tensor.size for tensor in self.tensors.values())

    def check_unchanged(self) -> None:
        """Raise ChangedError where a file was rewritten or replaced since it was opened."""
        for file in self.files:
            file.check_unchanged()
