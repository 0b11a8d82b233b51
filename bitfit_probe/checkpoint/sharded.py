"""Checkpoints in several files, tied together by an index (``*.index.json``) as transformers writes it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bitfit_probe.checkpoint.interface import Checkpoint
from bitfit_probe.checkpoint.parsing.bounded_json import MAX_BYTES, parse
from bitfit_probe.checkpoint.registry import INDEX_END
from bitfit_probe.checkpoint.storage.tensor import File, Tensor
from bitfit_probe.errors import CorruptError, EscapesError, MissingShardError

__all__ = ["escapes", "inside", "is_index", "is_plain", "join", "read_shards", "shard_names"]


def is_index(path: Path) -> bool:
    """Whether `path` is named as an index of shards."""
    return path.name.endswith(INDEX_END)


def is_plain(name: str) -> bool:
    """Whether a file called `name` can only lie in the folder that it is asked of, links aside."""
    path = Path(name)
    return not path.is_absolute() and ".." not in path.parts and name.isprintable()


def inside(folder: Path, name: str) -> Path:
    """The file called `name` in `folder`, refused where it would lie elsewhere.

    Hub caches link each file of a snapshot to ``../../blobs``, so that folder counts as inside.

    Raises
    ------
    EscapesError
        The name, or the link behind it, leaves the folder.
    """
    path = folder / name
    # realpath, as Path.resolve raises for a link to itself.
    real, home = Path(os.path.realpath(path)) if is_plain(name) else path, folder.resolve()
    allowed = (home, home.parent.parent / "blobs")
    if not is_plain(name) or not any(real.is_relative_to(info) for info in allowed):
        raise escapes(folder, name)
    return path


def escapes(folder: Path, name: str) -> EscapesError:
    """What to say where an index names a file outside its directory."""
    return EscapesError(
        f"the index names {name!r}, which lies outside its directory",
        advice="don't trust this checkpoint; get it from its source again",
        path=folder,
    )


def read_shards(index: Path, read: Callable[[Path], Checkpoint]) -> Checkpoint:
    """Join the shards that `index` names; each tensor comes from the file that the index gives it.

    Raises
    ------
    CorruptError
        The index is no map from names to files.
    EscapesError
        It names a file outside its directory.
    MissingShardError
        It names a file that is absent, or a tensor that its file lacks.
    """
    file = File(index)
    joined = join(file, lambda name: _shard(index, name, read))
    return replace(joined, files=(*joined.files, file))


def join(index: File, shard: Callable[[str], Checkpoint]) -> Checkpoint:
    """As `read_shards`, for shards that are opened by their names."""
    weight_map = _weight_map(index)
    shards = {name: shard(name) for name in dict.fromkeys(weight_map.values())}
    tensors: dict[str, Tensor] = {}
    for name, home in weight_map.items():
        if name not in shards[home].tensors:
            raise MissingShardError(
                f"{home} lacks {name!r}, which the index places there",
                advice="download that shard again",
                path=index.path.parent,
            )
        tensors[name] = shards[home].tensors[name]
    kind = Counter(shard.format for shard in shards.values()).most_common(1)[0][0]
    files = tuple(file for shard in shards.values() for file in shard.files)
    return Checkpoint(index.path, f"{kind}, {len(shards)} shards", tensors, files)


def shard_names(index: File) -> list[str]:
    """The files that `index` names; those that leave its folder are left out."""
    return [name for name in dict.fromkeys(_weight_map(index).values()) if is_plain(name)]


def _weight_map(index: File) -> dict[str, str]:
    try:
        root = parse(index.read(0, min(index.size, MAX_BYTES + 1)))
    except ValueError as error:
        raise CorruptError(
            f"the index is no JSON ({error})", advice="get it again", path=index.path
        ) from error
    weight_map = root.get("weight_map") if isinstance(root, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise CorruptError("the index has no weight_map", advice="download it again", path=index.path)
    if not all(isinstance(name, str) for name in weight_map.values()):
        raise CorruptError("the index maps to what is no name", advice="download it again", path=index.path)
    return weight_map


def _shard(index: Path, name: str, read: Callable[[Path], Checkpoint]) -> Checkpoint:
    path = inside(index.parent, name)
    if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises where a name is too long
        raise MissingShardError(
            f"the index names {name!r}, which is absent",
            advice="download the missing shard",
            path=index.parent,
        )
    return read(path)
