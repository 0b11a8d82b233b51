"""Which container formats and directory layouts there are, and how their files are called.

Each module of `bitfit_probe.checkpoint.formats` says it of its format in ``NAMING``, each one of
`bitfit_probe.checkpoint.layouts` of its layout in ``MARKS``; nobody else lists suffixes or names.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Protocol, cast

from bitfit_probe.checkpoint.interface import Checkpoint
from bitfit_probe.checkpoint.storage.tensor import File
from bitfit_probe.frozen import Frozen

__all__ = [
    "INDEX_END",
    "Format",
    "Layout",
    "Marks",
    "Naming",
    "exported",
    "formats",
    "layouts",
    "modules_of",
    "trained",
]

#: What the index of a checkpoint in several files ends in.
INDEX_END = ".index.json"


class Naming(Frozen):
    """How files of a container format are called.

    Attributes
    ----------
    suffixes
        Endings of its files.
    standard
        Names under which loaders look for a model in a folder, the first one first.
    adapters
        Names under which peft, or mlx-lm, looks for an adapter.
    priority
        Which format wins where a folder holds several: the lowest.
    is_export
        Whether it is what a trained model is converted to; it is read where nothing else is there.
    has_companions
        Whether a file may keep its values in others of its folder.
    """

    suffixes: tuple[str, ...]
    standard: tuple[str, ...] = ()
    adapters: tuple[str, ...] = ()
    priority: int = 0
    is_export: bool = False
    has_companions: bool = False

    @property
    def whole(self) -> tuple[str, ...]:
        """The standard names of single files."""
        return tuple(name for name in self.standard if not name.endswith(INDEX_END))

    @property
    def indexes(self) -> tuple[str, ...]:
        """The standard names of indexes of shards."""
        return tuple(name for name in self.standard if name.endswith(INDEX_END))


class Marks(Frozen):
    """What the names in a folder say of its layout.

    Attributes
    ----------
    weights
        Patterns, as `Path.glob` takes them: one of them is there where a folder has the layout.
    beside
        Endings of names that look like those of weight files and hold none.
    suffixes
        Endings under which weights lie that no format here reads.
    """

    weights: tuple[str, ...]
    beside: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()

    def are_in(self, folder: Path) -> bool:
        """Whether one of the files is there."""
        return any(path.is_file() for pattern in self.weights for path in folder.glob(pattern))


class Format(Protocol):
    """What a module of `bitfit_probe.checkpoint.formats` offers."""

    NAMING: Naming

    def matches(self, head: bytes, file: File) -> bool:
        """Whether the first bytes are those of this format."""

    def read(self, file: File, key: str | None = None) -> Checkpoint:
        """Read names, shapes and types; the values stay in the file."""


class Layout(Protocol):
    """What a module of `bitfit_probe.checkpoint.layouts` offers."""

    MARKS: Marks

    def matches(self, folder: Path) -> bool:
        """Whether the names in the directory are those of this layout."""

    def read(self, folder: Path, key: str | None = None) -> Checkpoint:
        """Read names, shapes and types; the values stay in the files."""


def formats() -> tuple[Format, ...]:
    """All container formats, in the order in which a file's first bytes are held against them."""
    return tuple(cast("Format", module) for module in modules_of("formats", "NAMING"))


def layouts() -> tuple[Layout, ...]:
    """All directory layouts, in the order in which they are asked."""
    return tuple(cast("Layout", module) for module in modules_of("layouts", "MARKS"))


@cache
def modules_of(room: str, attribute: str) -> tuple[ModuleType, ...]:
    """The modules in the folder `room` beside this one that define `attribute`, in order of their names."""
    package = importlib.import_module(f"{__package__}.{room}")
    found = pkgutil.iter_modules(package.__path__)
    modules = (importlib.import_module(f"{package.__name__}.{module.name}") for module in found)
    return tuple(module for module in modules if hasattr(module, attribute))


@cache
def trained() -> Naming:
    """The names of all formats in which training saves a model, those of the first format first."""
    return _together(is_export=False)


@cache
def exported() -> Naming:
    """The names of all formats to which a trained model is converted."""
    return _together(is_export=True)


def _together(*, is_export: bool) -> Naming:
    # Several modules may read one kind of file, and then share its naming.
    namings = dict.fromkeys(each.NAMING for each in formats() if each.NAMING.is_export == is_export)
    ordered = sorted(namings, key=lambda naming: naming.priority)
    return Naming(
        suffixes=tuple(name for naming in ordered for name in naming.suffixes),
        standard=tuple(name for naming in ordered for name in naming.standard),
        adapters=tuple(name for naming in ordered for name in naming.adapters),
        is_export=is_export,
        has_companions=any(naming.has_companions for naming in ordered),
    )
