"""Which of a file's state dicts is meant: a mapping of names to tensors, or a whole module."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bitfit_probe.checkpoint.torch.modules import is_module, state_of_module
from bitfit_probe.checkpoint.torch.state import StateDict
from bitfit_probe.checkpoint.torch.unpickle import Global, Inert, TensorRef, attributes_of, is_rebuilt
from bitfit_probe.errors import AmbiguousError, NoStateDictError, UnsupportedError
from bitfit_probe.frozen import Frozen

__all__ = ["unwrap"]

#: Entries of a training checkpoint that hold tensors, but no weights.
_NO_WEIGHTS = ("optim", "sched", "scaler", "rng", "loss", "callback", "loops", "buffer_names")
#: Entries that hold a moving average of the weights beside the live ones.
_AVERAGES = ("ema", "averag", "swa", "shadow", "teacher")
_MAX_DEPTH = 4
#: State dicts in one file, and characters of a key that leads to one.
_MAX_CANDIDATES, _MAX_KEY = 100, 1000


class _Candidate(Frozen):
    """A mapping of names to tensors, or a module; how deep it lies, and whether dicts alone lead to it."""

    key: str
    value: Any
    depth: int
    plain: bool

    def opened(self, path: Path) -> tuple[StateDict, tuple[str, ...]]:
        """The state dict, and a note where it was a module."""
        if not is_module(self.value):
            return StateDict(self.key, _named(self.value)), ()
        note = f"a whole module of class {self.value.what}, read without running it"
        return StateDict(self.key, state_of_module(self.value, path)), (note,)


def unwrap(root: Any, key: str | None, path: Path) -> tuple[StateDict, tuple[str, ...]]:
    """The state dict that is meant, and notes on what else there is.

    One candidate is taken as it is. Of several, the live weights win over a moving average of them,
    which is named in a note; anything else must be chosen by `key`. A state dict wins over modules that
    lie deeper, such as those among hyperparameters.

    Raises
    ------
    NoStateDictError
        Nothing in there maps names to tensors.
    AmbiguousError
        Several state dicts, and `key` does not say which.
    UnsupportedError, CorruptError
        See `state_of_module`.
    """
    found = list(itertools.islice(_candidates(root), _MAX_CANDIDATES))
    if not found:
        raise _no_state_dict(root, path)
    chosen, notes = _choose(found, key, path)
    state, more = chosen.opened(path)
    return state, (*notes, *more)


def _choose(found: list[_Candidate], key: str | None, path: Path) -> tuple[_Candidate, tuple[str, ...]]:
    by_key = {item.key: item for item in found}
    if key is not None and key in by_key:
        return by_key[key], ()
    if not all(item.plain for item in found):
        found = [item for item in found if item.depth == min(item.depth for item in found)]
    if len(found) == 1:
        note = f"holds no {key!r}; read its only state dict"
        return found[0], () if key is None else (note,)
    live = [item for item in found if not _is_average(item.key)]
    if key is None and len(live) == 1:
        others = ", ".join(item.key for item in found if item is not live[0])
        return live[0], (
            f"read {live[0].key!r}; the file also holds {others} (choose with --state-dict-key)",
        )
    choices = ", ".join(item.key or "(root)" for item in found)
    error = AmbiguousError(
        f"holds several state dicts: {choices}", advice="choose one with --state-dict-key", path=path
    )
    error.choices = tuple(by_key)
    raise error


def _is_average(key: str) -> bool:
    return any(word in key.lower() for word in _AVERAGES)


def _candidates(root: Any) -> Iterator[_Candidate]:
    """Breadth first, and never below a mapping that is a state dict itself, or a module."""
    level: list[tuple[tuple[str, ...], Any, bool]] = [((), root, True)]
    seen: set[int] = set()
    for depth in range(_MAX_DEPTH):
        deeper: list[tuple[tuple[str, ...], Any, bool]] = []
        for keys, value, plain in level:
            if not isinstance(value, dict | Inert) or id(value) in seen:
                continue
            seen.add(id(value))
            named, plain = _named(value), plain and isinstance(value, dict)
            if is_module(value) or _is_state_dict(value, named):
                yield _Candidate(".".join(keys), value, depth, plain)
            elif "param_groups" not in named:  # an optimiser, whose state is no weights
                deeper += [
                    ((*keys, name), item, plain) for name, item in named.items() if _may_lead_on(name, item)
                ]
        level = deeper


def _named(value: Any) -> dict[str, Any]:
    """What a dict, a class of dicts or any object holds by name."""
    entries = value if isinstance(value, dict) else value.entries or attributes_of(value)
    return {name: item for name, item in entries.items() if isinstance(name, str)}


def _may_lead_on(name: str, item: Any) -> bool:
    holds = isinstance(item, dict | Inert)
    return holds and len(name) <= _MAX_KEY and not name.lower().startswith(_NO_WEIGHTS)


def _is_state_dict(value: Any, named: dict[str, Any]) -> bool:
    if isinstance(value, Inert) and not value.entries:  # a tensor among an object's attributes is no weight
        return False
    tensors = sum(isinstance(item, TensorRef) or is_rebuilt(item) for item in named.values())
    nested = sum(isinstance(item, dict) for item in named.values())
    return tensors > nested and not any(map(is_module, named.values()))


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
