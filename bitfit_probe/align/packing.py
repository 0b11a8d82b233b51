"""Quantised weights among the tensors without a partner: codes and scales on one side, floats on the other.

Formats that say so in every name are refused when they are opened. Others (MXFP4, MLX, quanto) pack some
matrices, and leave the rest of the file comparable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.records import Unmatched

__all__ = ["mark_codes"]

#: What packing adds to a name; other formats put a component after it (weight._data, qweight, scales).
_ADDED = re.compile(r"_(?:blocks|scales|packed|quantized|q)$")

_Items = Sequence[Unmatched]


def mark_codes(
    base: Checkpoint, tuned: Checkpoint, left: _Items, right: _Items
) -> tuple[tuple[Unmatched, ...], tuple[Unmatched, ...]]:
    """Both sides' leftovers, with ``codes`` as the reason of those that are one weight packed and plain."""
    found: tuple[set[str], set[str]] = (set(), set())
    for packed, items, plain, side in ((tuned, right, left, 1), (base, left, right, 0)):
        for members, name in _counterparts(packed, items, plain):
            found[side].update(members)
            found[1 - side].add(name)
    return _marked(left, found[0]), _marked(right, found[1])


def _marked(items: _Items, names: set[str]) -> tuple[Unmatched, ...]:
    return tuple(replace(item, why="codes") if item.name in names else item for item in items)


def _counterparts(packed: Checkpoint, items: _Items, plain: _Items) -> Iterator[tuple[list[str], str]]:
    """Names of codes and scales, and the plain tensor that they stand for."""
    members: dict[str, list[str]] = {}
    for item in items:
        for stem in _stems(item.name):
            members.setdefault(stem, []).append(item.name)
    coded = {stem for stem, names in members.items() if any(_is_code(packed, name) for name in names)}
    # Either side's names may carry a prefix that the other's lack.
    ends = {end: stem for stem in coded for end in _ends(stem)}
    for item in plain if coded else ():
        for name in (item.name, item.name.removesuffix(".weight")):
            stem = ends.get(name) or next((end for end in _ends(name) if end in coded), "")
            if stem:
                yield members[stem], item.name


def _is_code(checkpoint: Checkpoint, name: str) -> bool:
    """Whether it holds whole numbers, or elements without a value of their own."""
    tensor = checkpoint.tensors.get(name)
    return tensor is not None and bool(tensor.shape) and not tensor.dtype.is_float


def _stems(name: str) -> set[str]:
    """What `name` is called where it is not packed, or its module."""
    # quanto packs codes of fewer than 8 bits as weight._data._data, beside weight._scale.
    return {name, name.rpartition(".")[0], name.partition("._data.")[0], _ADDED.sub("", name)} - {""}


def _ends(name: str) -> Iterator[str]:
    """`name` and what is left of it without its first components."""
    parts = name.split(".")
    return (".".join(parts[at:]) for at in range(len(parts)))
