"""The state dict inside a TorchScript archive: its objects' attributes, with none of its code run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bitfit_probe.checkpoint.torch.state import StateDict, needs_torch
from bitfit_probe.checkpoint.torch.unpickle import Inert, TensorRef
from bitfit_probe.errors import UnsupportedError

__all__ = ["state_of"]

_MAX_DEPTH = 64
#: Classes of C++, such as those that hold packed quantised weights.
_CUSTOM = "__torch__.torch.classes."
_PLAIN = (str, int, float, bool, type(None), list, tuple, dict)


def state_of(root: Any, path: Path) -> StateDict:
    """Tensors by their attributes' path, as the scripted module's state_dict names them.

    Raises
    ------
    UnsupportedError
        Its tensors are of a kind, such as packed quantised ones, that only torch can rebuild.
    """
    state = StateDict("", dict(_attributes(root, "", 0)))
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


def _attributes(value: Any, name: str, depth: int) -> Iterator[tuple[str, Any]]:
    state = value.state if isinstance(value, Inert) else None
    if isinstance(value, Inert) and value.what.module.startswith(_CUSTOM):
        yield name, value
    elif isinstance(state, dict) and depth < _MAX_DEPTH:
        for key, item in state.items():
            if isinstance(key, str) and (isinstance(item, TensorRef) or not isinstance(item, _PLAIN)):
                yield from _attributes(item, f"{name}.{key}" if name else key, depth + 1)
    elif isinstance(value, TensorRef) or (isinstance(value, Inert) and name and value.args):
        yield name, value
