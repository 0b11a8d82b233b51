"""Folders of TensorFlow, Keras and JAX, refused with the conversion to run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bitfit_probe.checkpoint.foreign import IN_FOLDERS, ONLY_ALONE, Kind, table
from bitfit_probe.checkpoint.interface import Checkpoint
from bitfit_probe.checkpoint.registry import Marks, exported, trained
from bitfit_probe.errors import UnsupportedError

__all__ = ["MARKS", "matches", "read"]

MARKS = Marks(
    weights=(*(pattern for pattern, _, _ in (*IN_FOLDERS, *ONLY_ALONE)), "*.index"),
    suffixes=(".h5", ".msgpack", ".ot", ".npz"),
)


def matches(folder: Path) -> bool:
    """Whether a file in it is named as one of theirs."""
    return next(_found(folder), None) is not None


def read(folder: Path, key: str | None = None) -> Checkpoint:
    """Refuse it.

    Raises
    ------
    UnsupportedError
        Always.
    """
    what, advice = next(_found(folder))
    raise UnsupportedError(what, advice=advice, path=folder)


def _found(folder: Path) -> Iterator[tuple[str, str]]:
    yield from _named(folder, IN_FOLDERS)
    read_here = (*trained().suffixes, *exported().suffixes)
    alone = not any(path.suffix in read_here for path in folder.iterdir())
    for index in sorted(folder.glob("*.index")):
        if (alone or ".ckpt" in index.name) and (kind := table(index)):
            yield kind
    if alone:
        yield from _named(folder, ONLY_ALONE)


def _named(folder: Path, kinds: tuple[Kind, ...]) -> Iterator[tuple[str, str]]:
    for pattern, what, advice in kinds:
        if any(folder.glob(pattern)):
            yield what, advice
