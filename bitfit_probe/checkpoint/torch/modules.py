"""The state dict of a whole module, as ``torch.save(model)`` pickles it, found in its tree without its code.

A module's ``__dict__`` says it all: ``_parameters`` and ``_buffers`` hold its tensors, ``_modules`` its
children. The names are those of ``Module.state_dict`` in ``torch/nn/modules/module.py``: every name of a
shared tensor counts, and buffers in ``_non_persistent_buffers_set`` are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bitfit_probe.checkpoint.torch.unpickle import Inert, TensorRef, attributes_of, is_rebuilt
from bitfit_probe.errors import CorruptError, UnsupportedError

__all__ = ["is_module", "state_of_module"]

#: Bytes that a tree may take, by `_cost`: a mixture of 128 experts in 94 layers takes half of it. Modules
#: that share children have each of them under every name, so a small file could name millions.
_MOST_COST = 1 << 26
_LONGEST_NAME = 1000
_ADVICE = "where it was made, save its state_dict() with torch.save or as .safetensors"


def is_module(value: Any) -> bool:
    """Whether `value` is described as an object of a module's class."""
    attributes = _attributes(value)
    return isinstance(attributes.get("_modules"), dict) and isinstance(attributes.get("_parameters"), dict)


def state_of_module(root: Inert, path: Path) -> dict[str, Any]:
    """What ``root.state_dict()`` maps names to.

    Parameters
    ----------
    root
        A module, by `is_module`.
    path
        The file that it came from, for messages.

    Raises
    ------
    UnsupportedError
        A module keeps its tensors in a form that only its class knows.
    CorruptError
        The tree has too many modules, or holds itself.
    """
    out: dict[str, Any] = {}
    left: list[tuple[str, Any]] = [("", root)]
    budget = _MOST_COST
    while left:
        prefix, module = left.pop()
        if not is_module(module) or _is_packed(module):
            raise _hidden(prefix.rstrip("."), module, path)
        budget -= _cost(prefix, module)
        if budget < 0 or len(prefix) > _LONGEST_NAME:
            raise CorruptError(
                "a tree of modules that holds itself, or has too many of them", advice=_ADVICE, path=path
            )
        for name, value in _own(module):
            if not isinstance(value, TensorRef) and not is_rebuilt(value):
                raise _hidden(prefix + name, value, path)
            out[prefix + name] = value
        left += [(f"{prefix}{name}.", child) for name, child in reversed(_children(module))]
    return out


def _is_packed(module: Inert) -> bool:
    """Whether it is one of torch's quantised layers, whose weights are packed in an object of C++."""
    return module.what.module.startswith("torch.") and ".quantized." in module.what.module


def _cost(prefix: str, module: Inert) -> int:
    """What the names within a module take, looked at before they are made."""
    attributes = _attributes(module)
    tables = (attributes.get(key) for key in ("_modules", "_parameters", "_buffers"))
    names = [name for table in tables if isinstance(table, dict) for name in table if isinstance(name, str)]
    return 128 + sum(len(prefix) + len(name) + 128 for name in names)


def _attributes(value: Any) -> Mapping[str, Any]:
    """The ``__dict__`` of an object, also where its class pickles itself as a call with the parts."""
    if not isinstance(value, Inert):
        return {}
    first = value.args[0] if value.args else None
    if value.what.name == "OptimizedModule":  # torch.compile: what it wraps, and how it was compiled
        return {"_modules": {"_orig_mod": first}, "_parameters": {}}
    if value.what.name == "reduce_graph_module" and isinstance(first, dict):  # torch.fx: its dict, its code
        return first
    return attributes_of(value)


def _own(module: Inert) -> Iterator[tuple[str, Any]]:
    attributes = _attributes(module)
    buffers = attributes.get("_buffers")
    passing = attributes.get("_non_persistent_buffers_set")
    left_out = {name for name in passing if isinstance(name, str)} if isinstance(passing, list) else ()
    for name, value in attributes["_parameters"].items():
        if isinstance(name, str) and value is not None:
            yield name, value
    for name, value in buffers.items() if isinstance(buffers, dict) else ():
        if isinstance(name, str) and value is not None and name not in left_out:
            yield name, value


def _children(module: Inert) -> list[tuple[str, Any]]:
    children = _attributes(module)["_modules"]
    return [(name, child) for name, child in children.items() if isinstance(name, str) and child is not None]


def _hidden(name: str, value: Any, path: Path) -> UnsupportedError:
    what = value.what if isinstance(value, Inert) else type(value).__name__
    return UnsupportedError(
        f"a whole module, of which {name!r} ({what}) keeps its tensors in a form of its own",
        advice=_ADVICE,
        path=path,
    )
