"""What a name means where no family knows it: the words that most architectures share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

from bitfit_probe.architectures.family import load_generic
from bitfit_probe.architectures.fused import Fused
from bitfit_probe.architectures.names import Name, is_bias, looks_like_norm, modern_leaf
from bitfit_probe.architectures.roles import kind_of
from bitfit_probe.frozen import Frozen
from bitfit_probe.records import TensorInfo

__all__ = ["fused_of", "guess", "is_usual_buffer", "split_of", "words"]

#: Roles that a tensor of cross-attention takes over from self-attention, and their names there.
_CROSSED = {role: f"x{role}" for role in ("q", "k", "v", "qkv", "m1")}

#: A bias is a vector, or a matrix where experts are stacked; with more axes it is a mask.
_MOST_BIAS_AXES = 2


class _Words(Frozen):
    roles: Mapping[str, str]
    buffers: frozenset[str]
    cross: frozenset[str]
    fused: Mapping[str, Fused]


@cache
def _words() -> _Words:
    table = load_generic()
    return _Words(
        roles={end: role for role, ends in table["roles"].items() for end in ends}
        | dict.fromkeys(table["heads"], "head"),
        buffers=frozenset(table["buffers"]),
        cross=frozenset(table["cross"]),
        fused={row["tensor"]: Fused.from_toml(row) for row in table["fused"]},
    )


def words() -> Iterable[str]:
    """Whatever names are compared with here."""
    known = _words()
    return (*known.roles, *known.buffers, *known.cross, *known.fused)


def is_usual_buffer(leaf: str) -> bool:
    """Tell whether a tensor's last component names a buffer in any architecture."""
    return leaf in _words().buffers


def guess(name: Name, ndim: int, stacks: Mapping[str, str]) -> TensorInfo:
    """Guess the place of a tensor from its name.

    Parameters
    ----------
    name
        The tensor's name.
    ndim
        Number of its axes.
    stacks
        Components that name a stack where they stand before the layer's number.
    """
    leaf, layer = name.leaf, name.layer
    named = [stacks[part] for part in name.components if part in stacks]
    stack = named[-1] if named else None
    is_mask = is_bias(leaf) and ndim > _MOST_BIAS_AXES
    if is_usual_buffer(leaf) or is_mask:
        return TensorInfo(None, layer, stack, "buffer")
    role = _role(name, ndim)
    return TensorInfo(role, layer, stack, kind_of(role, leaf))


def _role(name: Name, ndim: int) -> str | None:
    role = _role_by_words(name.components)
    if role == "LNf" and name.layer is not None:
        return "LN2"
    if role is None and any(looks_like_norm(part) for part in name.components[:-1][-1:]):
        return "LN"
    # Matrices and convolutions have more axes: a weight of one axis scales a normalised vector.
    if role is None and ndim == 1 and modern_leaf(name.leaf) == "weight":
        return "LN"
    if role in _CROSSED and not _words().cross.isdisjoint(name.components):
        return _CROSSED[role]
    return role


def _role_by_words(components: list[str]) -> str | None:
    """Find the role of the longest known ending, at the end of the name or before it.

    Modules of sentence-transformers are numbered before their names: ``2_Dense``.
    """
    roles = _words().roles
    components = [part.lstrip("0123456789").removeprefix("_") or part for part in components]
    for stop in range(len(components), 0, -1):
        for start in range(max(stop - 3, 0), stop):
            role = roles.get(".".join(components[start:stop]))
            if role is not None:
                return role
    return None


def fused_of(name: Name) -> Fused | None:
    """Give the layout of a fused tensor whose name alone says it (torch's own attention)."""
    layout = _words().fused.get(name.leaf)
    if layout is None or _words().cross.isdisjoint(name.components):
        return layout
    split = {_CROSSED[role]: stored for role, stored in (layout.split or {}).items()}
    return Fused(tuple((_CROSSED[role], count) for role, count in layout.parts), split=split)


def split_of(name: Name, canonical: str) -> dict[str, str]:
    """Give the canonical names that the parts of such a tensor have when stored alone."""
    layout = fused_of(name)
    module, dot, _ = canonical.rpartition(".")
    stored = layout.split if layout is not None and layout.split else {}
    return {role: f"{module}{dot}{end}" for role, end in stored.items()}
