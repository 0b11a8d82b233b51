"""sentence-transformers: modules.json names the modules' folders, of which one may be the folder itself.

The names of the first module with weights are its own, so that its architecture is known by them; those of
the others stand behind their folder's: ``2_Dense.linear.weight``. A head of SetFit (``model_head.pkl``) is a
pickle of scikit-learn's and is not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from bitfit_probe.checkpoint.directory import find_weights
from bitfit_probe.checkpoint.interface import Checkpoint
from bitfit_probe.checkpoint.parsing.bounded_json import MAX_BYTES, parse
from bitfit_probe.checkpoint.registry import Marks
from bitfit_probe.checkpoint.sharded import inside
from bitfit_probe.checkpoint.storage.tensor import File, Tensor
from bitfit_probe.errors import EmptyError, UnreadableError

__all__ = ["BESIDE_STANDARD", "MARKS", "listed_modules", "matches", "read"]

_MODULES = "modules.json"
MARKS = Marks(weights=(_MODULES,), suffixes=(".pkl",))
#: The folder may hold one module's weights under a standard name: the other modules belong to it.
BESIDE_STANDARD = True
#: Modules without parameters.
_BARE = ("BoW", "Dropout", "Normalize", "Pooling", "Router", "WordWeights")


def matches(folder: Path) -> bool:
    """Whether modules.json lists folders of modules, one of which has weights."""
    return any(_weights(folder, module) is not None for module in _listed(folder))


def read(folder: Path, key: str | None = None) -> Checkpoint:
    """Put the modules' tensors together."""
    from bitfit_probe.checkpoint.opening import open_file

    opened: list[tuple[str, Path, Checkpoint]] = []
    lost = []
    for module in _listed(folder):
        weights = _weights(folder, module)
        if weights is not None:
            opened.append((module["path"], weights.parent, open_file(weights, key)))
        elif not str(module.get("type", "")).endswith(_BARE):
            lost.append(module["path"] or "the folder itself")
    (_, home, first), *others = opened
    tensors: dict[str, Tensor] = dict(first.tensors)
    for path, _, other in others:
        for name, tensor in other.tensors.items():
            tensors[f"{path}.{name}"] = replace(tensor, name=f"{path}.{name}")
    notes = tuple(f"{_MODULES} lists {path}, of which there are no weights" for path in lost)
    return replace(
        first,
        path=folder,
        tensors=tensors,
        files=tuple(file for _, _, one in opened for file in one.files),
        notes=(*first.notes, *notes),
        home=home,
    )


def listed_modules(root: Path) -> Iterator[tuple[Path, str]]:
    """Folders and types of the modules that modules.json in `root` lists, those inside it, in its order."""
    for module in _listed(root):
        folder = inside(root, module["path"]) if module["path"] else root
        yield folder, str(module.get("type", ""))


def _listed(folder: Path) -> Iterator[dict[str, Any]]:
    try:
        file = File(folder / _MODULES)
        found = parse(file.read(0, min(file.size, MAX_BYTES + 1)))
    except (UnreadableError, ValueError):
        return
    for module in found if isinstance(found, list) else ():
        if isinstance(module, dict) and isinstance(module.get("path"), str):
            yield module


def _weights(folder: Path, module: dict[str, Any]) -> Path | None:
    place = inside(folder, module["path"]) if module["path"] else folder
    try:
        return find_weights(place).weights if place.is_dir() else None
    except EmptyError:
        return None
