"""What an adapter of any method looks like to the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from bitfit_probe.checkpoint.storage.tensor import Tensor
from bitfit_probe.errors import UnsupportedError

if TYPE_CHECKING:
    from bitfit_probe.checkpoint.adapters.lora import LowRank

__all__ = ["Adapter", "Change", "Changes", "Method", "not_read"]


class Change(Protocol):
    """A tensor of the base that the adapter alters."""

    @property
    def name(self) -> str:
        """Name of the altered tensor in the model that was tuned."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that it must have, as far as the adapter tells, the output axis first."""

    def tuned(self, base: Tensor, *, in_out: bool) -> Tensor:
        """What `base` becomes: a tensor of its shape, computed by rows.

        Parameters
        ----------
        base
            The tensor that is altered.
        in_out
            Whether a square matrix stores its inputs along the rows, as ``Conv1D`` does.

        Raises
        ------
        ValueError
            The shapes don't fit.
        """


@dataclass(frozen=True)
class Changes:
    """What a method's tensors say.

    Attributes
    ----------
    altered
        Tensors of the base that the method alters, by name.
    stored
        Tensors of the tuned model that the file holds as they are, by name.
    incomplete
        Modules of which a factor is missing or empty.
    """

    altered: Mapping[str, Change]
    stored: Mapping[str, Tensor] = field(default_factory=dict)
    incomplete: tuple[str, ...] = ()


class Method(Protocol):
    """What a module of `bitfit_probe.checkpoint.adapters` offers for one ``peft_type``."""

    PEFT_TYPE: str

    def mine(self, name: str) -> bool:
        """Whether a tensor of this name belongs to the method."""

    def label(self, config: Mapping[str, Any]) -> str:
        """The method in a word or two, such as ``rsLoRA``."""

    def changes(self, tensors: Mapping[str, Tensor], config: Mapping[str, Any], path: Path) -> Changes:
        """What the method's tensors change; their names lack ``base_model.model.``."""


@dataclass(frozen=True, eq=False)
class Adapter:
    """A PEFT adapter: its configuration, and what it changes in a base.

    Attributes
    ----------
    label
        The method in a word or two.
    config
        The content of adapter_config.json.
    altered
        Tensors of the base that it alters, by the name they have in the tuned model.
    stored
        Tensors that it holds whole (trained biases, saved modules, norms), by the same kind of name.
    incomplete
        Modules of which a factor is missing or empty.
    """

    label: str
    config: Mapping[str, Any]
    altered: Mapping[str, Change]
    stored: Mapping[str, Tensor]
    incomplete: tuple[str, ...] = ()

    @property
    def low_rank(self) -> dict[str, LowRank]:
        """The changes by factors, by the name of the altered tensor."""
        from bitfit_probe.checkpoint.adapters.lora import LowRank

        return {name: change for name, change in self.altered.items() if isinstance(change, LowRank)}


def not_read(what: str, path: Path) -> UnsupportedError:
    """The refusal of an adapter that only peft itself can apply."""
    return UnsupportedError(
        what, advice="merge it with peft's merge_and_unload() and give the merged model", path=path
    )
