"""Names that both sides can be asked for: without wrappers, prefixes and spellings that differ."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from bitfit_probe.architectures import Architecture
from bitfit_probe.checkpoint import Checkpoint, Tensor

__all__ = ["DIRECTION", "GAIN", "keyed", "plain", "translated", "unwrapped"]

#: Components that wrappers put into names: DataParallel and DDP, torch.compile, FSDP, activation
#: checkpointing, FairScale, and peft's copy of an adapted layer.
_WRAPPERS = frozenset(
    {
        "module",
        "_orig_mod",
        "_orig_module",
        "_fsdp_wrapped_module",
        "_checkpoint_wrapped_module",
        "_fpw_module",
        "_forward_module",
        "base_layer",
    }
)
_PEFT_PREFIX = "base_model.model."
#: Components of a prefix that is tried: every pair of both sides' prefixes is held against all names.
_DEEPEST_PREFIX = 8
#: weight_norm's names since torch.nn.utils.parametrizations.weight_norm, and those before.
GAIN, DIRECTION = "parametrizations.weight.original0", "parametrizations.weight.original1"
_WEIGHT_NORM = {"weight_g": GAIN, "weight_v": DIRECTION}
_ADDED = re.compile(rf"(?<![^.])(?:{'|'.join(map(re.escape, sorted(_WRAPPERS)))}|weight_[gv])(?![^.])")


#: What only a name that wrappers or weight_norm touched can have in it.
_TOUCHED = re.compile(r"module|orig_mod|_forward|base_|weight_[gv]")


def unwrapped(name: str) -> str:
    """`name` without what wrappers added, in weight_norm's newer spelling.

    >>> unwrapped("module.encoder._orig_mod.layer.0.bias")
    'encoder.layer.0.bias'
    """
    if not _TOUCHED.search(name):
        return name
    name = name.removeprefix(_PEFT_PREFIX)
    if not _ADDED.search(name):
        return name
    parts = [part for part in name.split(".") if part not in _WRAPPERS]
    if not parts:
        return name
    parts[-1] = _WEIGHT_NORM.get(parts[-1], parts[-1])
    return ".".join(parts)


def translated(checkpoint: Checkpoint, others: Iterable[str]) -> Mapping[str, Tensor]:
    """The tensors, called as the other side calls them where the format has names of its own."""
    if not checkpoint.aliases:
        return checkpoint.tensors
    names = {unwrapped(name) for name in others}
    ends = {end for name in names for end in _ends(name)}
    out = {}
    for name, tensor in checkpoint.tensors.items():
        fitting = [
            alias
            for alias in checkpoint.aliases.get(name, ())
            if alias in ends or not names.isdisjoint(_ends(alias))
        ]
        best = max(fitting, key=lambda alias: (alias in names, alias in ends, len(alias)), default=name)
        out[best] = replace(tensor, name=best)
    return out


def _ends(name: str) -> Iterator[str]:
    """`name`, and what is left of it without its first components, down to a module and its leaf."""
    parts = name.split(".")
    return (".".join(parts[at:]) for at in range(max(len(parts) - 1, 1)))


def plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by unwrapped name; a name that two of them would share stays as it is."""
    bare = {name: unwrapped(name) for name in tensors}
    count = Counter(bare.values())
    return {bare[name] if count[bare[name]] == 1 else name: tensor for name, tensor in tensors.items()}


#: Tensors, or what an adapter has in their place.
One = TypeVar("One")
Other = TypeVar("Other")


def keyed(
    ours: dict[str, One], theirs: dict[str, Other], left: Architecture, right: Architecture
) -> tuple[dict[str, One], dict[str, Other], tuple[str, ...]]:
    """Both sides under common names: the architecture's, or those behind the best pair of prefixes."""
    known = _rename(ours, left.canonical), _rename(theirs, right.canonical)
    known_pairs = len(known[0].keys() & known[1].keys())
    renaming = () if left.prefix == right.prefix else (_renaming(left.prefix, right.prefix),)
    if known_pairs >= 0.9 * min(len(ours), len(theirs)):
        return *known, renaming
    options = [
        (len(a.keys() & b.keys()), -len(p) - len(q), p, q)
        for p in _prefixes(known[0])
        for q in _prefixes(known[1])
        for a, b in [(_behind(known[0], p), _behind(known[1], q))]
    ]
    best, _, p, q = max(options)
    if best <= known_pairs:
        return *known, renaming
    return _behind(known[0], p), _behind(known[1], q), (*renaming, _renaming(p, q))


def _renaming(ours: str, theirs: str) -> str:
    return f"{ours or '(no prefix)'} in the base is {theirs or '(no prefix)'} in the tuned one"


def _rename(tensors: dict[str, One], rename: Callable[[str], str]) -> dict[str, One]:
    out: dict[str, One] = {}
    for name, tensor in tensors.items():
        key = rename(name)
        if key in out:  # two names that mean the same: the later one stays apart
            key = next(free for free in _spellings(name) if free not in out)
        out[key] = tensor
    return out


def _spellings(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}#{number}" for number in itertools.count())


def _prefixes(names: Iterable[str]) -> list[str]:
    """The prefixes that at least half of the names begin with, shortest first."""
    total, found = len(list(names)), [""]
    for depth in range(1, _DEEPEST_PREFIX + 1):
        heads = Counter(
            ".".join(parts[:depth]) + "."
            for parts in (name.split(".") for name in names)
            if len(parts) > depth
        )
        if not heads or heads.most_common(1)[0][1] < total / 2:
            return found
        found.append(heads.most_common(1)[0][0])
    return found


def _behind(tensors: dict[str, One], prefix: str) -> dict[str, One]:
    return _rename(tensors, lambda name: name.removeprefix(prefix))
