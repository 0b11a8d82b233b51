"""Checkpoints in several files, tied together by an index (``*.index.json``) as transformers writes it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from bitfit_probe.checkpoint.interface import Checkpoint, read_json
from bitfit_probe.checkpoint.tensor import Tensor
from bitfit_probe.errors import CorruptError, EscapesError, MissingShardError

__all__ = ["inside", "is_index", "read_shards"]


def is_index(path: Path) -> bool:
    """Whether `path` is named as an index of shards."""
    return path.name.endswith(".index.json")


def inside(folder: Path, name: str) -> Path:
    """The file called `name` in `folder`, refused where it would lie elsewhere.

    Hub caches link each file of a snapshot to ``../../blobs``, so that folder counts as inside.

    Raises
    ------
    EscapesError
        The name, or the link behind it, leaves the folder.
    """
    path, lexical = folder / name, Path(name)
    plain = not lexical.is_absolute() and ".." not in lexical.parts and name.isprintable()
    # realpath, as Path.resolve raises for a link to itself.
    real, home = Path(os.path.realpath(path)) if plain else path, folder.resolve()
    allowed = (home, home.parent.parent / "blobs")
    if not plain or not any(real.is_relative_to(place) for place in allowed):
        raise EscapesError(
            f"the index names {name!r}, which lies outside its directory",
            advice="don't trust this checkpoint; get it from its source again",
            path=folder,
        )
    return path


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
    weight_map = (read_json(index) or {}).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CorruptError("the index has no weight_map", advice="download it again", path=index)
    if not all(isinstance(name, str) for name in weight_map.values()):
        raise CorruptError("the index maps to what is no name", advice="download it again", path=index)
    shards = {name: _shard(index, name, read) for name in dict.fromkeys(weight_map.values())}
    tensors: dict[str, Tensor] = {}
    for name, shard in weight_map.items():
        if name not in shards[shard].tensors:
            raise MissingShardError(
                f"{shard} lacks {name!r}, which the index places there",
                advice="download that shard again",
                path=index.parent,
            )
        tensors[name] = shards[shard].tensors[name]
    kind = Counter(shard.format for shard in shards.values()).most_common(1)[0][0]
    files = tuple(file for shard in shards.values() for file in shard.files)
    return Checkpoint(index, f"{kind}, {len(shards)} shards", tensors, files)


def _shard(index: Path, name: str, read: Callable[[Path], Checkpoint]) -> Checkpoint:
    path = inside(index.parent, name)
    if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises where a name is too long
        raise MissingShardError(
            f"the index names {name!r}, which is absent",
            advice="download the missing shard",
            path=index.parent,
        )
    return read(path)
