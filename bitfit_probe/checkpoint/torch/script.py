"""The state dict inside a TorchScript archive: its objects' attributes, with none of its code run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bitfit_probe.checkpoint.torch.state import StateDict, needs_torch
from bitfit_probe.checkpoint.torch.unpickle import Inert, TensorRef
from bitfit_probe.errors import CorruptError, UnsupportedError

__all__ = ["state_of"]

#: Classes of C++, such as those that hold packed quantised weights.
_CUSTOM = "__torch__.torch.classes."
#: Objects that are looked at, a shared one under each of its names, and characters of a name.
_MOST_OBJECTS, _LONGEST_NAME = 1 << 18, 1000
_SCALARS = (str, int, float, bool, type(None))
#: Calls that give a list or a dict its type, with the value first.
_TYPED = "torch.jit._pickle"


def state_of(root: Any, path: Path) -> StateDict:
    """Tensors by their attributes' path, as the scripted module's state_dict names them.

    Raises
    ------
    UnsupportedError
        Its tensors are of a kind, such as packed quantised ones, that only torch can rebuild.
    CorruptError
        Its objects hold each other without end.
    """
    state = StateDict("", dict(_attributes(root, path)))
    odd = [name for name, value in state.entries.items() if isinstance(value, Inert)]
    if odd or needs_torch(state) or not state.entries:
        raise UnsupportedError(
            f"a TorchScript archive with {odd[0]!r}, which only torch can rebuild"
            if odd
            else "a TorchScript archive without tensors of its own",
            advice="load it with torch.jit.load and save its state_dict() with torch.save",
            path=path,
        )
    return state


def _attributes(root: Any, path: Path) -> Iterator[tuple[str, Any]]:
    """The tensors within `root`, and the objects that may hide some."""
    left: list[tuple[str, Any]] = [("", root)]
    for _ in range(_MOST_OBJECTS):
        if not left:
            return
        name, value = left.pop()
        if isinstance(value, Inert) and value.what.module == _TYPED:
            value = value.args[0] if value.args else None
        if isinstance(value, TensorRef):
            yield name, value
        elif isinstance(value, Inert) and not _is_plain_object(value):
            if name and (value.args or value.what.module.startswith(_CUSTOM)):
                yield name, value
        elif len(name) <= _LONGEST_NAME and len(left) <= _MOST_OBJECTS:
            items = [(key, item) for key, item in _items(value) if not isinstance(item, _SCALARS)]
            left += [(f"{name}.{key}" if name else key, item) for key, item in reversed(items)]
    raise CorruptError("more objects than a model has", advice="copy or download it again", path=path)


def _is_plain_object(value: Inert) -> bool:
    return isinstance(value.state, dict) and not value.what.module.startswith(_CUSTOM)


def _items(value: Any) -> Iterable[tuple[str, Any]]:
    """Attributes of an object, entries of a dict, elements of a list by number."""
    if isinstance(value, list | tuple):
        return ((str(at), item) for at, item in enumerate(value))
    found = value.state if isinstance(value, Inert) else value
    return ((str(key), item) for key, item in found.items()) if isinstance(found, dict) else ()
