"""Which tensor of the base is which of the tuned checkpoint: by name, shape and layout, never by value."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np

from bitfit_probe.architectures import Architecture, recognise
from bitfit_probe.checkpoint import Checkpoint, Tensor
from bitfit_probe.checkpoint.adapters import Adapter, Change, lay_over
from bitfit_probe.checkpoint.computed import RowStorage
from bitfit_probe.checkpoint.dtypes import BY_NAME
from bitfit_probe.checkpoint.tensor import Bytes, ComputedStorage
from bitfit_probe.errors import NothingAlignsError, ShapesError, TargetsError
from bitfit_probe.records import Part, Place, Unmatched

__all__ = ["Alignment", "Pair", "align", "unwrapped"]

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
#: weight_norm's old names and those of torch.nn.utils.parametrizations.weight_norm.
_GAIN, _DIRECTION = "parametrizations.weight.original0", "parametrizations.weight.original1"
_WEIGHT_NORM = {"weight_g": _GAIN, "weight_v": _DIRECTION}


@dataclass(frozen=True)
class Pair:
    """A tensor of the base and the one that it became: windows of the same shape.

    `part` names the part of a fused tensor that the windows show, or is None. `in_file` is false where the
    tuned side's file (an adapter, a file of biases) leaves the tensor out because it is the base's.
    """

    base: Tensor
    tuned: Tensor
    place: Place
    part: str | None = None
    in_file: bool = True

    @property
    def computed(self) -> bool:
        """Whether the tuned tensor is computed from the base's and what an adapter stores."""
        return isinstance(self.tuned.storage, RowStorage)


@dataclass(frozen=True)
class Alignment:
    """Two checkpoints laid side by side, without their values.

    Attributes
    ----------
    architecture
        The base's, or the tuned side's where only that is known.
    pairs
        Tensors to compare, in the base's order.
    unmatched_base, unmatched_tuned
        What has no partner, and why.
    notes
        Which renaming it took, in words.
    """

    architecture: Architecture
    pairs: tuple[Pair, ...]
    unmatched_base: tuple[Unmatched, ...]
    unmatched_tuned: tuple[Unmatched, ...]
    notes: tuple[str, ...] = ()


@dataclass
class _Names:
    """One side's tensors by the name under which the other side is asked for them."""

    architecture: Architecture
    tensors: dict[str, Tensor]
    ties: bool = True

    def own(self, key: str) -> str:
        """The name that the architecture knows the tensor by."""
        return unwrapped(self.tensors[key].name)

    def place(self, key: str) -> Place:
        return self.architecture.place(self.own(key), len(self.tensors[key].shape))

    def parts(self, key: str) -> tuple[Part, ...]:
        return self.architecture.parts(self.own(key), self.tensors[key].shape)

    def split_names(self, key: str) -> dict[str, str]:
        return self.architecture.split_names(self.own(key))


def unwrapped(name: str) -> str:
    """`name` without what wrappers added, in weight_norm's newer spelling.

    >>> unwrapped("module.encoder._orig_mod.layer.0.bias")
    'encoder.layer.0.bias'
    """
    name = name.removeprefix(_PEFT_PREFIX)
    parts = [part for part in name.split(".") if part not in _WRAPPERS]
    if not parts:
        return name
    parts[-1] = _WEIGHT_NORM.get(parts[-1], parts[-1])
    return ".".join(parts)


def align(base: Checkpoint, tuned: Checkpoint) -> Alignment:
    """Lay `tuned` beside `base`.

    Raises
    ------
    NothingAlignsError
        No name of one side is found on the other.
    ShapesError
        Names are found, but no shape fits.
    TargetsError
        `tuned` is an adapter, and nothing that it changes is in the base.
    """
    if tuned.adapter is not None and base.adapter is None:
        return _align_adapter(base, tuned, tuned.adapter)
    plain_base, plain_tuned = _plain(base.tensors), _plain(tuned.tensors)
    left, right = _architectures(plain_base, plain_tuned, base, tuned)
    ours, theirs, renaming = _keyed(plain_base, plain_tuned, left, right)
    matcher = _Matcher(_Names(left, ours, _ties(base)), _Names(right, theirs, _ties(tuned)))
    matcher.match_names()
    matcher.match_wrapped_heads()
    matcher.match_weight_norm()
    matcher.match_fused()
    pairs = matcher.pairs_in_order()
    if not pairs:
        raise _nothing(base, tuned, shared=bool(ours.keys() & theirs.keys()))
    unmatched_base, unmatched_tuned = matcher.leftovers()
    architecture = right if left.family == "generic" else left
    return Alignment(architecture, pairs, unmatched_base, unmatched_tuned, renaming)


def _align_adapter(base: Checkpoint, tuned: Checkpoint, adapter: Adapter) -> Alignment:
    """Lay the base as the adapter tunes it beside the base; what it leaves alone is not in its file."""
    plain_base = _plain(base.tensors)
    changed: dict[str, Tensor | Change] = {**adapter.stored, **adapter.altered}
    left, right = _architectures(plain_base, changed, base, tuned)
    ours, keyed, renaming = _keyed(plain_base, changed, left, right)
    keys = {item.name: key for key, item in keyed.items()}
    overlay = lay_over(
        ours,
        {keys[name]: change for name, change in adapter.altered.items()},
        {keys[name]: tensor for name, tensor in adapter.stored.items()},
        inputs_first=bool(adapter.config.get("fan_in_fan_out")),
    )
    matcher = _Matcher(_Names(left, ours, _ties(base)), _Names(right, overlay.tensors, _ties(tuned)))
    matcher.match_names()
    matcher.match_wrapped_heads()
    matcher.match_fused()
    if changed and not matcher.found:
        raise _no_target(base, tuned, changed, misfits=bool(overlay.misfits))
    matcher.match_unstored()
    unmatched_base, unmatched_tuned = matcher.leftovers()
    left_over = [
        *(_without_partner(change, right, "absent") for change in overlay.absent.values()),
        *(_without_partner(change, right, "shape") for change in overlay.misfits.values()),
    ]
    architecture = right if left.family == "generic" else left
    return Alignment(
        architecture, matcher.pairs_in_order(), unmatched_base, (*unmatched_tuned, *left_over), renaming
    )


def _without_partner(
    change: Change, architecture: Architecture, why: Literal["absent", "shape"]
) -> Unmatched:
    place = architecture.place(change.name, len(change.shape))
    return Unmatched(change.name, change.shape, place, why)


def _no_target(
    base: Checkpoint, tuned: Checkpoint, changed: Iterable[str], *, misfits: bool
) -> TargetsError | ShapesError:
    target = next(iter(changed))
    if misfits:
        return ShapesError(
            f"the tensors that it changes, such as {target!r}, have other shapes in {base.path}",
            advice="give the base that this adapter was trained on",
            path=tuned.path,
        )
    parts = target.split(".")
    instead = max(base.tensors, key=lambda name: _common_end(name.split("."), parts))
    return TargetsError(
        f"its targets are no tensors of {base.path}: it changes {target!r}, the base has {instead!r} instead",
        advice="give the base that this adapter was trained on, saved under the same names",
        path=tuned.path,
    )


def _common_end(one: list[str], other: list[str]) -> int:
    pairs = zip(reversed(one), reversed(other), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _ties(checkpoint: Checkpoint) -> bool:
    """Whether a tied tensor that is absent stands under another name: where config.json does not object."""
    return checkpoint.config.get("tie_word_embeddings") is not False


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors by unwrapped name; a name that two of them would share stays as it is."""
    plain = {name: unwrapped(name) for name in tensors}
    count = Counter(plain.values())
    return {plain[name] if count[plain[name]] == 1 else name: tensor for name, tensor in tensors.items()}


def _architectures(
    ours: Iterable[str], theirs: Iterable[str], base: Checkpoint, tuned: Checkpoint
) -> tuple[Architecture, Architecture]:
    """Both sides' architectures; a side that says less about itself is read as the other one."""
    left = recognise(ours, base.config or tuned.config)
    right = recognise(theirs, tuned.config or base.config)
    if left.family != right.family:
        if left.family == "generic" or (right.known_from == "config" and left.known_from != "config"):
            left = recognise(ours, tuned.config)
        else:
            right = recognise(theirs, base.config)
    if left.family == "generic" or right.family == "generic":
        # One side split, the other fused: only the names of one are telling, and both share the prefix.
        known = right if left.family == "generic" else left
        return known, known
    return left, right


#: Tensors, or what an adapter has in their place.
One = TypeVar("One")
Other = TypeVar("Other")


def _keyed(
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
    total, found, depth = len(list(names)), [""], 1
    while True:
        heads = Counter(
            ".".join(parts[:depth]) + "."
            for parts in (name.split(".") for name in names)
            if len(parts) > depth
        )
        if not heads or heads.most_common(1)[0][1] < total / 2:
            return found
        found.append(heads.most_common(1)[0][0])
        depth += 1


def _behind(tensors: dict[str, One], prefix: str) -> dict[str, One]:
    return _rename(tensors, lambda name: name.removeprefix(prefix))


class _Matcher:
    """Takes tensors off both sides as it pairs them."""

    def __init__(self, ours: _Names, theirs: _Names) -> None:
        self.ours, self.theirs = ours, theirs
        self.left = dict(ours.tensors)
        self.right = dict(theirs.tensors)
        self.found: dict[str, list[Pair]] = {}
        self.extra: tuple[list[Unmatched], list[Unmatched]] = ([], [])
        self.vocabulary: set[tuple[int, int]] = set()

    def match_names(self) -> None:
        """Pair tensors of one name: embeddings first, which tell by how much a vocabulary was resized."""
        common = [key for key in self.ours.tensors if key in self.theirs.tensors]
        for key in sorted(common, key=lambda key: self.ours.place(key).kind != "embedding"):
            base, tuned, place = self.left[key], self.right[key], self.ours.place(key)
            if base.shape == tuned.shape:
                self._take(key, key, list(self._parts(key, base, tuned, place)))
            elif self._resized(base, tuned, place):
                self._take_rows(key, base, tuned, place)

    def _parts(self, key: str, base: Tensor, tuned: Tensor, place: Place) -> Iterator[Pair]:
        """A fused bias as one pair a part; matrices stay whole, since their parts are no separate rows."""
        parts = self.ours.parts(key) if len(base.shape) == 1 else ()
        if not parts or not (base.is_contiguous and tuned.is_contiguous):
            yield Pair(base, tuned, place)
        for part in parts:
            yield Pair(base.part(part), tuned.part(part), replace(place, role=part.role), part.role)

    def _resized(self, base: Tensor, tuned: Tensor, place: Place) -> bool:
        if not base.shape or base.shape[1:] != tuned.shape[1:]:
            return False
        rows = base.shape[0], tuned.shape[0]
        if place.kind == "embedding" and len(base.shape) == 2:
            self.vocabulary.add(rows)
            return True
        return place.kind == "head" and rows in self.vocabulary

    def _take_rows(self, key: str, base: Tensor, tuned: Tensor, place: Place) -> None:
        common = min(base.shape[0], tuned.shape[0])
        self._take(key, key, [Pair(base.rows(common), tuned.rows(common), place)])
        longer, side = (base, 0) if base.shape[0] > common else (tuned, 1)
        rest = (longer.shape[0] - common, *longer.shape[1:])
        self.extra[side].append(Unmatched(longer.name, rest, place, "rows"))

    def match_wrapped_heads(self) -> None:
        """Pair a head with the same one in a container: lm_head.weight and lm_head.0.weight."""
        theirs = {_uncontained(key): key for key in self.right}
        for key in list(self.left):
            other = theirs.get(_uncontained(key))
            if other not in self.right or self.ours.place(key).kind != "head":
                continue
            base, tuned = self.left[key], self.right[other]
            if base.shape == tuned.shape:
                self._take(key, other, [Pair(base, tuned, self.ours.place(key))])

    def match_weight_norm(self) -> None:
        """Pair a plain weight with the product that weight_norm keeps in two tensors."""
        for one, other, swap in ((self.left, self.right, False), (self.right, self.left, True)):
            for key in [key for key in other if key.endswith(_GAIN)]:
                stem = key.removesuffix(_GAIN)
                plain, direction = f"{stem}weight", f"{stem}{_DIRECTION}"
                if plain not in one or direction not in other:
                    continue
                product = _product(other[key], other[direction])
                if product.shape != one[plain].shape:
                    continue
                place = (self.ours if plain in self.ours.tensors else self.theirs).place(plain)
                pair = Pair(product, one[plain], place) if swap else Pair(one[plain], product, place)
                self.found[pair.base.name] = [pair]
                for taken in (key, direction):
                    other.pop(taken)
                one.pop(plain)

    def match_fused(self) -> None:
        """Pair a fused tensor of one side with the split ones of the other."""
        for swap in (False, True):
            fused, split = (self.right, self.left) if swap else (self.left, self.right)
            names = self.theirs if swap else self.ours
            for key, tensor in list(fused.items()):
                pairs = list(_split_pairs(names, key, tensor, split, swap))
                if pairs:
                    fused.pop(key)
                    for role_key in names.split_names(key).values():
                        split.pop(role_key)
                    self.found[pairs[0].base.name] = pairs

    def match_unstored(self) -> None:
        """Pair what the tuned file leaves out with itself, but for a head that another one replaces."""
        new_head = any(self.theirs.place(key).kind == "head" for key in self.right)
        for key in [key for key in self.left if key not in self.theirs.tensors]:
            tensor, place = self.left[key], self.ours.place(key)
            if place.kind != "head" or not new_head:
                pairs = self._parts(key, tensor, tensor, place)
                self.found[tensor.name] = [replace(pair, in_file=False) for pair in pairs]
                self.left.pop(key)

    def _take(self, ours: str, theirs: str, pairs: list[Pair]) -> None:
        self.left.pop(ours)
        self.right.pop(theirs)
        self.found[pairs[0].base.name] = pairs

    def pairs_in_order(self) -> tuple[Pair, ...]:
        """All pairs, in the order in which the base holds its tensors."""
        order = {tensor.name: number for number, tensor in enumerate(self.ours.tensors.values())}
        groups = sorted(self.found.values(), key=lambda pairs: order.get(pairs[0].base.name, len(order)))
        return tuple(pair for group in groups for pair in group)

    def leftovers(self) -> tuple[tuple[Unmatched, ...], tuple[Unmatched, ...]]:
        """What is left on either side, with the reason."""
        base = self._reasons(self.left, self.ours, self.theirs)
        tuned = self._reasons(self.right, self.theirs, self.ours)
        return (*base, *self.extra[0]), (*tuned, *self.extra[1])

    def _reasons(self, left: dict[str, Tensor], names: _Names, other: _Names) -> Iterator[Unmatched]:
        for key, tensor in left.items():
            tied = names.architecture.tied_to(names.own(key))
            if key in other.tensors:
                why: Any = "shape"
            elif tied is not None and tied in other.tensors and other.ties:
                why = "tied"
            else:
                why = "absent"
            yield Unmatched(tensor.name, tensor.shape, names.place(key), why)


def _uncontained(key: str) -> str:
    """`key` without the number of a container's only element before the last component."""
    module, _, leaf = key.rpartition(".")
    return f"{module.removesuffix('.0')}.{leaf}"


def _split_pairs(
    names: _Names, key: str, tensor: Tensor, split: dict[str, Tensor], swap: bool
) -> Iterator[Pair]:
    roles = names.split_names(key)
    parts = {part.role: part for part in names.parts(key)}
    if not roles or roles.keys() != parts.keys() or not tensor.is_contiguous:
        return
    windows = {role: tensor.part(part) for role, part in parts.items()}
    if any(roles[role] not in split or split[roles[role]].shape != windows[role].shape for role in roles):
        return
    for role, other in roles.items():
        place = replace(names.place(key), role=role)
        one, two = windows[role], split[other]
        yield Pair(two, one, place, role) if swap else Pair(one, two, place, role)


def _product(gain: Tensor, direction: Tensor) -> Tensor:
    """The weight of weight_norm: g·v/‖v‖, the norm over all axes but g's (Salimans & Kingma 2016)."""

    def compute() -> Bytes:
        g, v = gain.values(), direction.values()
        axes = tuple(axis for axis, size in enumerate(g.shape) if size == 1)
        norm = np.sqrt(np.sum(v * v, axis=axes, keepdims=True))
        weight: Bytes = (g * v / norm).astype("<f4").reshape(-1).view(np.uint8)
        return weight

    float32 = BY_NAME["float32"]
    storage = ComputedStorage(direction.size * float32.itemsize, compute)
    return Tensor.contiguous(direction.name, float32, direction.shape, storage)


def _nothing(base: Checkpoint, tuned: Checkpoint, *, shared: bool) -> NothingAlignsError | ShapesError:
    if shared:
        return ShapesError(
            f"tensors of the same names have other shapes in {base.path}",
            advice="these are models of different size; give the base that this one was tuned from",
            path=tuned.path,
        )
    ours, theirs = next(iter(base.tensors)), next(iter(tuned.tensors))
    return NothingAlignsError(
        f"no tensor of it is one of {base.path} (for example {theirs!r} and {ours!r})",
        advice="give the base that this one was tuned from",
        path=tuned.path,
    )
