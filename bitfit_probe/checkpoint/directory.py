"""Which file of a model directory holds the weights.

The order is that of ``transformers.modeling_utils`` (PreTrainedModel.from_pretrained): a single file wins
over shards, safetensors over pickles. Directories that no loader wrote may hold one weight file of any name.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from bitfit_probe.checkpoint.registry import Naming, exported, formats, layouts, trained
from bitfit_probe.checkpoint.storage.tensor import File
from bitfit_probe.errors import AmbiguousError, EmptyError, UnreadableError
from bitfit_probe.frozen import Frozen

__all__ = [
    "HEAD_BYTES",
    "Found",
    "find_weights",
    "left_unread",
    "only",
    "standard_weights",
    "weight_suffixes",
]

#: Of a file's beginning: enough for every format to know its own.
HEAD_BYTES = 512
#: Weight-like files that trainers leave beside the weights.
_NO_WEIGHTS = (
    "optimizer",
    "scheduler",
    "scaler",
    "rng_state",
    "random_states",
    "sampler",
    "training_args",
)


class Found(Frozen):
    """The weight file that counts, and the others that were left alone."""

    weights: Path
    siblings: tuple[Path, ...]


def standard_weights(folder: Path) -> list[Path]:
    """The weight files under names that transformers knows, in its order."""
    return _present(folder, trained().standard)


def find_weights(folder: Path) -> Found:
    """The weights that transformers would load from `folder`; else what it was exported to.

    Raises
    ------
    EmptyError
        No weight file in it.
    AmbiguousError
        Several, none under a standard name.
    """
    found = _among(folder, trained()) or _among(folder, exported()) or _without_suffix(folder)
    if found is None:
        raise _empty(folder)
    return found


def _among(folder: Path, naming: Naming) -> Found | None:
    """The file that counts of those called as `naming` tells, with its siblings."""
    standard = _present(folder, naming.standard) or _present(folder, naming.adapters)
    if standard:
        # No loader takes one export in the absence of another.
        return Found(standard[0], () if naming.is_export else tuple(standard[1:]))
    others = (path for path in folder.iterdir() if path.suffix in naming.suffixes and _holds_weights(path))
    return _alone(folder, others)


def _present(folder: Path, names: Iterable[str]) -> list[Path]:
    return [folder / name for name in names if (folder / name).is_file()]


def _without_suffix(folder: Path) -> Found | None:
    """The one file without a suffix that a format knows by its bytes."""
    unnamed = (path for path in folder.iterdir() if not path.suffix and not path.name.startswith("."))
    return _alone(folder, (path for path in unnamed if _holds_weights(path) and _is_weights(path)))


def _is_weights(path: Path) -> bool:
    try:
        file = File(path)
        head = file.read(0, min(file.size, HEAD_BYTES))
    except UnreadableError:
        return False
    # A licence may have a brace where the header of a safetensors file begins; no text holds a zero.
    return b"\0" in head and any(known.matches(head, file) for known in formats())


def _alone(folder: Path, paths: Iterable[Path]) -> Found | None:
    found = sorted(paths)
    if not found:
        return None
    return Found(folder / only([path.name for path in found], folder, "name the file itself"), ())


def only(names: list[str], path: Path | str, advice: str) -> str:
    """The only one of several weight files under names of their own.

    Raises
    ------
    AmbiguousError
        There are others.
    """
    if len(names) > 1:
        raise AmbiguousError(
            f"holds several weight files, none under a standard name: {', '.join(names[:5])}",
            advice=advice,
            path=path,
        )
    return names[0]


def left_unread(folder: Path, read: Iterable[Path]) -> tuple[str, ...]:
    """Names of weight files in `folder` that are not among those `read`, and of folders in it that hold some.

    Whoever reads a result has to know what it does not speak of: a stale shard, weights of another
    framework, an adapter in a folder of its own.
    """
    # Shards lie anywhere below, and hub caches link to them.
    known = {os.path.realpath(path) for path in read}
    return tuple(sorted(_unread_in(folder, known)))


def _unread_in(folder: Path, known: set[str]) -> Iterator[str]:
    try:
        for path in folder.iterdir():
            if path.is_dir() and not path.name.startswith("."):
                if any(_is_unread(inner, known) for inner in path.iterdir()):
                    yield f"{path.name}/"
            elif _is_unread(path, known):
                yield path.name
    except OSError:  # what may not be listed is not known to hold weights
        return


def _is_unread(path: Path, known: set[str]) -> bool:
    return path.suffix in weight_suffixes() and _holds_weights(path) and os.path.realpath(path) not in known


@cache
def weight_suffixes() -> frozenset[str]:
    """Endings under which weights lie, whether or not they are read there."""
    foreign = (suffix for layout in layouts() for suffix in layout.MARKS.suffixes)
    return frozenset((*trained().suffixes, *exported().suffixes, *foreign))


@cache
def _no_weights() -> tuple[str, ...]:
    """Endings of files that look like weights and are none."""
    return tuple(end for layout in layouts() for end in layout.MARKS.beside)


def _holds_weights(path: Path) -> bool:
    name = path.name
    return path.is_file() and not name.startswith(_NO_WEIGHTS) and not name.endswith(_no_weights())


def _empty(folder: Path) -> EmptyError:
    inner = sorted(path.name for path in folder.glob("checkpoint-*") if path.is_dir())
    if inner:
        return EmptyError(
            f"no weights at its top, but in {len(inner)} checkpoint folders",
            advice=f"give one of them, such as {folder / inner[-1]}",
            path=folder,
        )
    return EmptyError(
        "no weight file in it", advice=f"give a directory with {' or '.join(trained().whole)}", path=folder
    )
