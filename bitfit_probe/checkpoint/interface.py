"""What every checkpoint looks like to the rest, whatever container it came in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from bitfit_probe.checkpoint.model_card import CARD, read_card
from bitfit_probe.checkpoint.parsing.bounded_json import MAX_BYTES, parse
from bitfit_probe.checkpoint.storage.tensor import File, Tensor
from bitfit_probe.checkpoint.tokenizer_files import Tokenizer, read_tokenizer
from bitfit_probe.checkpoint.trainer_state import TRAINER_STATE, TrainerState
from bitfit_probe.errors import ChangedError, UnreadableError, UnsupportedError
from bitfit_probe.frozen import Frozen

__all__ = ["Adapter", "Change", "Checkpoint", "read_json"]


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in `path`; None where there is no regular file, or no object of a sane size in it."""
    try:
        return _object_in(File(path))
    except UnreadableError:
        return None


def _object_in(file: File) -> dict[str, Any] | None:
    try:
        loaded = parse(file.read(0, min(file.size, MAX_BYTES + 1)))
    except (UnreadableError, ValueError):
        return None
    return loaded if isinstance(loaded, dict) else None


class Change(Protocol):
    """A tensor of the base that the adapter alters."""

    @property
    def name(self) -> str:
        """Name of the altered tensor in the model that was tuned."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that it must have, as far as the adapter tells, the output axis first."""

    @property
    def vectors(self) -> Mapping[str, Tensor]:
        """What of it another adapter's may be held against as it is: all but low-rank factors.

        By a name that says what the values belong to, so that equal names are comparable.
        """

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


class Adapter(Frozen, eq=False):
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
    misranked
        By module, the rank that the configuration promises and that of the factors, where they differ: peft
        refuses to load it.
    unread
        Why it can't be laid over a base; two such adapters are still compared as they are stored.
    """

    label: str
    config: Mapping[str, Any]
    altered: Mapping[str, Change]
    stored: Mapping[str, Tensor]
    incomplete: tuple[str, ...] = ()
    misranked: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    unread: UnsupportedError | None = None


class Checkpoint(Frozen):
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
        Other weight files under the names that transformers knows, in its order: it would load them in the
        absence of the one that was read.
    unread
        Names of all weight files and folders of them in the directory that were left alone.
    adapter
        What a PEFT adapter changes in its base, where it is one; `tensors` are then the file's own.
    aliases
        What other frameworks call a tensor, for formats with names of their own.
    home
        The directory of config, tokenizer and trainer state, where `path` does not tell: a model that was
        named by its address.
    packed
        The tensors as the file has them, where packed weights among them were unpacked into `tensors`.
    still_chosen
        Whether the directory would still be read from these files, and not from others that came later.
    """

    path: Path
    format: str
    tensors: Mapping[str, Tensor]
    files: tuple[File, ...]
    notes: tuple[str, ...] = ()
    siblings: tuple[Path, ...] = field(default=())
    unread: tuple[str, ...] = ()
    adapter: Adapter | None = None
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    home: Path | None = None
    packed: Mapping[str, Tensor] | None = None
    still_chosen: Callable[[], bool] | None = field(default=None, repr=False, compare=False)
    _beside: dict[str, File] = field(default_factory=dict, repr=False, compare=False)

    @property
    def folder(self) -> Path:
        """The directory in which config, tokenizer and trainer state lie, if they do."""
        return self.home or (self.path if self.path.is_dir() else self.path.parent)

    @property
    def as_stored(self) -> Checkpoint:
        """The same with the parts that the file holds in the place of unpacked weights."""
        return self if self.packed is None else replace(self, tensors=self.packed, packed=None)

    @property
    def infos(self) -> tuple[Path, ...]:
        """What no output may overwrite: what was named, the weight files, and what lies beside them."""
        return (self.path, *(file.path for file in self.files))

    @cached_property
    def config(self) -> dict[str, Any]:
        """The model's config.json; empty where there is none."""
        return self.read_json("config.json") or {}

    @cached_property
    def trainer_state(self) -> TrainerState | None:
        """The log of the run, by the trainer_state.json beside the weights; None where there is none."""
        found = self.read_json(TRAINER_STATE)
        return TrainerState.of(found) if found else None

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """What the tokenizer's files beside the weights say; an empty one where there are none."""
        return read_tokenizer(self.folder, self.read_json)

    @cached_property
    def card(self) -> Mapping[str, tuple[str, ...]]:
        """The front matter of the README.md beside the weights, words by key; empty where there is none."""
        return read_card(self.folder / CARD)

    def read_json(self, name: str) -> dict[str, Any] | None:
        """A JSON object that lies beside the weights, such as ``trainer_state.json``."""
        try:
            file = self._beside[name] = File(self.folder / name)
        except UnreadableError:
            return None
        return _object_in(file)

    @property
    def parameters(self) -> int:
        """Number of elements in all tensors."""
        return sum(tensor.size for tensor in self.tensors.values())

    def check_unchanged(self) -> None:
        """Raise ChangedError where a file was rewritten or replaced, or another would now be read instead."""
        for file in (*self.files, *self._beside.values()):
            file.check_unchanged()
        if self.still_chosen is not None and not self.still_chosen():
            raise ChangedError(
                "weight files came or went while it was read",
                advice="run again when nothing writes to it",
                path=self.path,
            )
