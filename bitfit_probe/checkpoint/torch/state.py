"""From what a torch pickle describes to named tensors: dtypes, storages, and which state dict is meant."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitfit_probe.checkpoint.storage.dtypes import BY_NAME, DType
from bitfit_probe.checkpoint.storage.tensor import Storage, Tensor
from bitfit_probe.checkpoint.torch.unpickle import Global, Inert, StorageRef, TensorRef
from bitfit_probe.errors import AmbiguousError, CorruptError, NoStateDictError, UnsupportedError

__all__ = ["StateDict", "needs_torch", "storage_dtype", "tensors_of", "unwrap"]

_STORAGE_TYPES = {
    "Double": "float64",
    "Float": "float32",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
    "ComplexFloat": "complex64",
    "ComplexDouble": "complex128",
    "Untyped": "uint8",
}

#: Entries of a training checkpoint that hold tensors, but no weights.
_NO_WEIGHTS = ("optim", "sched", "scaler", "rng", "loss", "callback", "loops", "buffer_names")
#: Entries that hold a moving average of the weights beside the live ones.
_AVERAGES = ("ema", "averag", "swa", "shadow", "teacher")
_MAX_DEPTH = 4
#: Each takes some hundred bytes of memory, and a pickle can name one tensor a million times.
_MAX_TENSORS = 160_000
#: State dicts in one file, and characters of a key that leads to one.
_MAX_CANDIDATES, _MAX_KEY = 100, 1000


@dataclass(frozen=True)
class StateDict:
    """A state dict inside a checkpoint: the key that leads to it, and what it maps."""

    key: str
    entries: dict[str, Any]


def storage_dtype(ref: StorageRef, path: Path) -> DType:
    """Element type of a storage; raises UnsupportedError for a kind that is not known."""
    if ref.kind not in _STORAGE_TYPES:
        raise UnsupportedError(
            f"a tensor is held in a {ref.kind}Storage, which is not read",
            advice="save it again with a current PyTorch",
            path=path,
        )
    return BY_NAME[_STORAGE_TYPES[ref.kind]]


def tensors_of(state: StateDict, storage: Callable[[StorageRef], Storage], path: Path) -> dict[str, Tensor]:
    """The tensors of a state dict; entries that are none (counters, versions) are left out.

    Raises
    ------
    CorruptError
        A tensor looks beyond its storage.
    UnsupportedError
        An element type is not known.
    """
    out: dict[str, Tensor] = {}
    for name, ref in state.entries.items():
        if not isinstance(ref, TensorRef):
            continue
        if len(out) == _MAX_TENSORS:
            raise CorruptError(
                f"more than {_MAX_TENSORS:,} tensors", advice="save the model in several files", path=path
            )
        dtype = _dtype(ref, path)
        try:
            out[name] = Tensor(
                name,
                dtype,
                ref.shape,
                storage(ref.storage),
                ref.offset + ref.storage.offset,
                ref.strides,
            )
        except ValueError as error:
            raise CorruptError(str(error), advice="copy or download it again", path=path) from error
    return out


def _dtype(ref: TensorRef, path: Path) -> DType:
    if ref.dtype is None:
        return storage_dtype(ref.storage, path)
    if ref.dtype not in BY_NAME:
        raise UnsupportedError(
            f"a tensor has the element type {ref.dtype}, which is not read",
            advice="convert it to float32, float16 or bfloat16",
            path=path,
        )
    return BY_NAME[ref.dtype]


def needs_torch(state: StateDict) -> bool:
    """Whether an entry is a tensor of a kind (sparse, quantised) that only torch can rebuild."""
    return any(
        isinstance(value, Inert) and value.what.module in ("torch._utils", "torch._tensor")
        for value in state.entries.values()
    )


def unwrap(root: Any, key: str | None, path: Path) -> tuple[StateDict, tuple[str, ...]]:
    """The state dict that is meant, and notes on what else there is.

    One candidate is taken as it is. Of several, the live weights win over a moving average of them,
    which is named in a note; anything else must be chosen by `key`.

    Raises
    ------
    NoStateDictError
        Nothing in there maps names to tensors.
    AmbiguousError
        Several state dicts, and `key` does not say which.
    """
    found = list(itertools.islice(_candidates(root), _MAX_CANDIDATES))
    if not found:
        raise _no_state_dict(root, path)
    by_key = {state.key: state for state in found}
    if key is not None and key in by_key:
        return by_key[key], ()
    if len(found) == 1:
        note = f"holds no {key!r}; read its only state dict"
        return found[0], () if key is None else (note,)
    live = [state for state in found if not _is_average(state.key)]
    if key is None and len(live) == 1:
        others = ", ".join(state.key for state in found if state is not live[0])
        return live[0], (
            f"read {live[0].key!r}; the file also holds {others} (choose with --state-dict-key)",
        )
    choices = ", ".join(state.key or "(root)" for state in found)
    error = AmbiguousError(
        f"holds several state dicts: {choices}", advice="choose one with --state-dict-key", path=path
    )
    error.choices = tuple(by_key)
    raise error


def _is_average(key: str) -> bool:
    return any(word in key.lower() for word in _AVERAGES)


def _candidates(root: Any) -> Iterator[StateDict]:
    """Breadth first, and never below a mapping that is a state dict itself."""
    level: list[tuple[tuple[str, ...], Any]] = [((), root)]
    seen: set[int] = set()
    for _ in range(_MAX_DEPTH):
        deeper: list[tuple[tuple[str, ...], Any]] = []
        for keys, value in level:
            if not isinstance(value, dict) or id(value) in seen:
                continue
            seen.add(id(value))
            named = {name: item for name, item in value.items() if isinstance(name, str)}
            if _is_state_dict(named):
                yield StateDict(".".join(keys), named)
                continue
            deeper += [((*keys, name), item) for name, item in named.items() if _may_hold_weights(name, item)]
        level = deeper


def _may_hold_weights(name: str, item: Any) -> bool:
    return isinstance(item, dict) and len(name) <= _MAX_KEY and not name.lower().startswith(_NO_WEIGHTS)


def _is_state_dict(mapping: dict[str, Any]) -> bool:
    tensors = sum(isinstance(value, TensorRef) or _is_rebuilt(value) for value in mapping.values())
    nested = sum(isinstance(value, dict) for value in mapping.values())
    return tensors > nested


def _is_rebuilt(value: Any) -> bool:
    return isinstance(value, Inert) and value.what.name.startswith("_rebuild")


def _no_state_dict(root: Any, path: Path) -> NoStateDictError | UnsupportedError:
    if isinstance(root, Inert | Global):
        what = root.what if isinstance(root, Inert) else root
        return UnsupportedError(
            f"holds an object of class {what} instead of a state dict",
            advice="where it was made, save its state_dict() with torch.save or as .safetensors",
            path=path,
        )
    return NoStateDictError(
        "maps no names to tensors", advice="save model.state_dict() with torch.save", path=path
    )
