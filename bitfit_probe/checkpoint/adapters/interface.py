"""What the module of an adapter method offers, and how it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, Protocol

from bitfit_probe.checkpoint.interface import Change
from bitfit_probe.checkpoint.storage.tensor import Tensor
from bitfit_probe.errors import UnsupportedError
from bitfit_probe.frozen import Frozen

__all__ = ["Changes", "Method", "not_read"]


class Changes(Frozen):
    """What a method's tensors say.

    Attributes
    ----------
    altered
        Tensors of the base that the method alters, by name.
    stored
        Tensors of the tuned model that the file holds as they are, by name.
    incomplete
        Modules of which a factor is missing or empty.
    misranked
        The rank that the configuration promises of a module, and that of its factors, where they differ.
    notes
        What else a person should know.
    unread
        Why it can't be laid over a base, where that takes more than its tensors.
    """

    altered: Mapping[str, Change]
    stored: Mapping[str, Tensor] = field(default_factory=dict)
    incomplete: tuple[str, ...] = ()
    misranked: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    unread: UnsupportedError | None = None


class Method(Protocol):
    """What a module of `bitfit_probe.checkpoint.adapters` offers for one ``peft_type``."""

    PEFT_TYPE: str

    def matches(self, name: str) -> bool:
        """Whether a tensor of this name belongs to the method."""

    def label(self, config: Mapping[str, Any]) -> str:
        """The method in a word or two, such as ``rsLoRA``."""

    def changes(self, tensors: Mapping[str, Tensor], config: Mapping[str, Any], path: Path) -> Changes:
        """What the method's tensors change; their names lack ``base_model.model.``."""


def not_read(what: str, path: Path, *, merges: bool = True) -> UnsupportedError:
    """The refusal of an adapter that only peft itself can apply, and that peft `merges`, or else can't."""
    merge = "merge it with peft's merge_and_unload() and give the merged model"
    return UnsupportedError(
        what, advice=merge if merges else "compare it with another one of its kind: diff A B", path=path
    )
