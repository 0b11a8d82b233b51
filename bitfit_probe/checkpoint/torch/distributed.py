"""torch.distributed.checkpoint: ``.metadata`` says which piece of which tensor lies where in ``*.distcp``.

That is how FSDP, Accelerate and Lightning save sharded models. The metadata is a pickle, which is described
and not run; each piece is an archive of torch.save within a file.
Layout: ``torch/distributed/checkpoint/metadata.py`` and ``filesystem.py``.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

from bitfit_probe.checkpoint.interface import Checkpoint
from bitfit_probe.checkpoint.sharded import inside
from bitfit_probe.checkpoint.storage.dtypes import BY_NAME
from bitfit_probe.checkpoint.storage.joined import Tile, tiled
from bitfit_probe.checkpoint.storage.tensor import File, Section, Tensor, contiguous_strides
from bitfit_probe.checkpoint.torch.archive import Archive
from bitfit_probe.checkpoint.torch.choosing import unwrap
from bitfit_probe.checkpoint.torch.state import StateDict, tensors_of
from bitfit_probe.checkpoint.torch.unpickle import Global, Inert, StorageRef, TensorRef, describe
from bitfit_probe.errors import CorruptError, MissingShardError, UnsupportedError
from bitfit_probe.frozen import Frozen

__all__ = ["read"]

_MAX_METADATA_BYTES = 256 << 20


def read(folder: Path, metadata: Path, key: str | None = None) -> Checkpoint:
    """Find every tensor's pieces; they stay in their files.

    Parameters
    ----------
    folder
        What is read, as the caller named it.
    metadata
        The file in it that says where the pieces lie, which is beside them.
    key
        Which state dict to take where there are several.

    Raises
    ------
    MissingShardError
        A file that the metadata names is absent.
    CorruptError
        The metadata contradicts itself or the files.
    """
    try:
        described = _Described.of(_metadata(metadata))
        state, notes = unwrap(described.nested(), key, metadata)
        shards = _Shards(metadata)
        names = {ref.storage.key: name for name, ref in state.entries.items() if isinstance(ref, TensorRef)}
        tensors = {name: described.tensor(full, name, shards) for full, name in names.items()}
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise CorruptError(
            f"metadata that contradicts itself or its files ({error})",
            advice="copy the whole directory again, or save it again",
            path=metadata,
        ) from error
    files = (shards.metadata, *shards.files.values())
    return Checkpoint(folder, f"torch DCP, {len(shards.files)} shards", tensors, files, notes)


def _metadata(path: Path) -> dict[str, Any]:
    file = File(path)
    if file.size > _MAX_METADATA_BYTES:
        raise ValueError(f"{file.size:,} bytes")
    root = describe(io.BytesIO(file.read(0, file.size)), path).root
    if not isinstance(root, Inert) or not isinstance(root.state, dict):
        raise TypeError("no Metadata object")
    return root.state


class _Described(Frozen):
    """What the metadata says: tensors by full name, their pieces' places, and the nesting of the names."""

    tensors: dict[str, dict[str, Any]]
    pieces: dict[tuple[str, tuple[int, ...]], dict[str, Any]]
    nesting: dict[str, Any]

    @classmethod
    def of(cls, metadata: dict[str, Any]) -> _Described:
        tensors = {
            name: item.state
            for name, item in metadata["state_dict_metadata"].items()
            if isinstance(item, Inert) and item.what.name == "TensorStorageMetadata"
        }
        pieces = {}
        for index, info in metadata["storage_data"].items():
            offset = index.state.get("offset")
            if offset is not None:
                pieces[index.state["fqn"], tuple(offset)] = info.state
        nesting = metadata.get("planner_data")
        return cls(tensors, pieces, nesting if isinstance(nesting, dict) else {})

    def nested(self) -> dict[str, Any]:
        """The state as it was saved, a reference in place of each tensor, for `unwrap`."""
        root: dict[str, Any] = {}
        for name, item in self.tensors.items():
            path = self.nesting.get(name)
            keys = path if isinstance(path, tuple) and path else (name,)
            level = root
            for step in keys[:-1]:
                level = level.setdefault(str(step), {})
            shape = tuple(item["size"])
            ref = StorageRef("Float", name, math.prod(shape))
            level[str(keys[-1])] = TensorRef(ref, 0, shape, contiguous_strides(shape))
        return root

    def tensor(self, full: str, name: str, shards: _Shards) -> Tensor:
        item = self.tensors[full]
        dtype = _element_type(item["properties"].state)
        shape = tuple(item["size"])
        tiles = []
        for chunk in item["chunks"]:
            offsets = tuple(chunk.state["offsets"])
            tensor = shards.piece(name, self.pieces[full, offsets])
            if tensor.shape != tuple(chunk.state["sizes"]):
                raise ValueError(f"{full}: a piece of another shape than its metadata says")
            tiles.append(Tile(tensor, offsets))
        return tiled(name, BY_NAME[dtype.name], shape, tiles)


def _element_type(properties: Any) -> Global:
    """TensorProperties are restored from a dict, or from a tuple in which the element type comes first."""
    if isinstance(properties, dict):
        properties = (properties["dtype"],)
    for value in properties:
        if isinstance(value, Global):
            return value
    raise TypeError("properties without an element type")


class _Shards:
    """The files of a directory, opened once each."""

    def __init__(self, metadata: Path) -> None:
        self.folder = metadata.parent
        self.metadata = File(metadata)
        self.files: dict[str, File] = {}

    def piece(self, name: str, info: dict[str, Any]) -> Tensor:
        if info.get("transform_descriptors"):
            raise UnsupportedError(
                "pieces that are compressed or otherwise transformed",
                advice="load it with torch.distributed.checkpoint and save the state_dict() with torch.save",
                path=self.folder,
            )
        section = Section(self._file(info["relative_path"]), info["offset"], info["length"])
        archive = Archive(section)
        if not isinstance(archive.root, TensorRef):
            raise TypeError(f"{name}: a piece that is no plain tensor")
        (tensor,) = tensors_of(StateDict("", {name: archive.root}), archive.storage, section.path).values()
        return tensor

    def _file(self, name: Any) -> File:
        if name not in self.files:
            path = inside(self.folder, str(name))
            if not path.is_file():
                raise MissingShardError(
                    f"its metadata names {name!r}, which is absent",
                    advice="copy the missing shard",
                    path=self.folder,
                )
            self.files[name] = File(path)
        return self.files[name]
