"""Tensors of two sides paired by their names: whole, by parts, by rows, in containers, or as a product."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bitfit_probe.align.names import DIRECTION, GAIN, unwrapped
from bitfit_probe.architectures import Architecture
from bitfit_probe.checkpoint import Tensor
from bitfit_probe.checkpoint.adapters import LowRank
from bitfit_probe.checkpoint.storage.computed import MergedStorage
from bitfit_probe.checkpoint.storage.dtypes import BY_NAME
from bitfit_probe.checkpoint.storage.tensor import Bytes, ComputedStorage
from bitfit_probe.records import Part, TensorInfo, Unmatched

__all__ = ["Matcher", "Names", "TensorPair"]

#: Counts, positions and masks; narrower whole numbers may be the codes of quantised weights.
_NEVER_TRAINED = ("int64", "bool")


@dataclass(frozen=True)
class TensorPair:
    """A tensor of the base and the one that it became: windows of the same shape.

    `part` names the part of a fused tensor that the windows show, or is None. `in_file` is false where the
    tuned side's file (an adapter, a file of biases) leaves the tensor out because it is the base's. `update`
    holds what two adapters add to one matrix, where both do it by factors; the tensors are then the products.
    """

    base: Tensor
    tuned: Tensor
    info: TensorInfo
    part: str | None = None
    in_file: bool = True
    update: tuple[LowRank, LowRank] | None = None

    @property
    def computed(self) -> bool:
        """Whether the tuned tensor is computed from the base's and what an adapter stores."""
        return isinstance(self.tuned.storage, MergedStorage)


@dataclass
class Names:
    """One side's tensors by the name under which the other side is asked for them."""

    architecture: Architecture
    tensors: dict[str, Tensor]
    ties: bool = True
    _infos: dict[str, TensorInfo] = field(default_factory=dict, repr=False)

    def own(self, key: str) -> str:
        """The name that the architecture knows the tensor by."""
        return unwrapped(self.tensors[key].name)

    def info(self, key: str) -> TensorInfo:
        """Which place the tensor has in the architecture."""
        found = self._infos.get(key)
        if found is None:
            found = self._infos[key] = self.architecture.info(self.own(key), len(self.tensors[key].shape))
        return found

    def parts(self, key: str) -> tuple[Part, ...]:
        """The parts of a fused tensor."""
        return self.architecture.parts(self.own(key), self.tensors[key].shape)

    def experts(self, key: str) -> Iterator[tuple[int, Part, str]]:
        """The matrices of each expert in a tensor of all, and their names where they are stored alone."""
        return self.architecture.experts(self.own(key), self.tensors[key].shape)

    def split_names(self, key: str) -> dict[str, str]:
        """By role: the names that the parts of a fused tensor have where they are split."""
        return self.architecture.split_names(self.own(key))


class Matcher:
    """Takes tensors off both sides as it pairs them."""

    def __init__(self, ours: Names, theirs: Names) -> None:
        self.ours, self.theirs = ours, theirs
        self.left = dict(ours.tensors)
        self.right = dict(theirs.tensors)
        self.found: dict[str, list[TensorPair]] = {}
        self.extra: tuple[list[Unmatched], list[Unmatched]] = ([], [])
        self.vocabulary: set[tuple[int, int]] = set()

    def match_names(self) -> None:
        """Pair tensors of one name: embeddings first, which tell by how much a vocabulary was resized."""
        common = [key for key in self.ours.tensors if key in self.theirs.tensors]
        for key in sorted(common, key=lambda key: self.ours.info(key).kind != "embedding"):
            base, tuned, info = self.left[key], self.right[key], self.ours.info(key)
            if base.shape == tuned.shape:
                self._take(key, key, list(self._parts(key, base, tuned, info)))
            elif self._resized(base, tuned, info):
                self._take_rows(key, base, tuned, info)

    def _parts(self, key: str, base: Tensor, tuned: Tensor, info: TensorInfo) -> Iterator[TensorPair]:
        """A fused bias as one pair a part; matrices stay whole, since their parts are no separate rows."""
        parts = self.ours.parts(key) if len(base.shape) == 1 else ()
        if not parts:
            yield TensorPair(base, tuned, info)
        for part in parts:
            yield TensorPair(base.part(part), tuned.part(part), replace(info, role=part.role), part.role)

    def _resized(self, base: Tensor, tuned: Tensor, info: TensorInfo) -> bool:
        if not base.shape or base.shape[1:] != tuned.shape[1:]:
            return False
        rows = base.shape[0], tuned.shape[0]
        if info.kind == "embedding" and len(base.shape) == 2:
            self.vocabulary.add(rows)
            return True
        return info.kind == "head" and rows in self.vocabulary

    def _take_rows(self, key: str, base: Tensor, tuned: Tensor, info: TensorInfo) -> None:
        common = min(base.shape[0], tuned.shape[0])
        self._take(key, key, [TensorPair(base.rows(common), tuned.rows(common), info)])
        longer, side = (base, 0) if base.shape[0] > common else (tuned, 1)
        rest = (longer.shape[0] - common, *longer.shape[1:])
        self.extra[side].append(Unmatched(longer.name, rest, info, "rows"))

    def match_wrapped_heads(self) -> None:
        """Pair a head with the same one in a container: lm_head.weight and lm_head.0.weight."""
        theirs = {_uncontained(key): key for key in self.right}
        for key in list(self.left):
            other = theirs.get(_uncontained(key))
            if other not in self.right or self.ours.info(key).kind != "head":
                continue
            base, tuned = self.left[key], self.right[other]
            if base.shape == tuned.shape:
                self._take(key, other, [TensorPair(base, tuned, self.ours.info(key))])

    def match_weight_norm(self) -> None:
        """Pair a plain weight with the product that weight_norm keeps in two tensors."""
        for one, other, swap in ((self.left, self.right, False), (self.right, self.left, True)):
            for key in [key for key in other if key.endswith(GAIN)]:
                stem = key.removesuffix(GAIN)
                plain, direction = f"{stem}weight", f"{stem}{DIRECTION}"
                if plain not in one or direction not in other:
                    continue
                product = _product(other[key], other[direction])
                if product.shape != one[plain].shape:
                    continue
                info = (self.ours if plain in self.ours.tensors else self.theirs).info(plain)
                pair = (
                    TensorPair(product, one[plain], info) if swap else TensorPair(one[plain], product, info)
                )
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

    def match_experts(self) -> None:
        """Pair a tensor that holds all experts of a layer with the other side's, an expert at a time."""
        for swap in (False, True):
            fused, split = (self.right, self.left) if swap else (self.left, self.right)
            names = self.theirs if swap else self.ours
            for key, tensor in list(fused.items()):
                info = names.info(key)
                for expert, part, stored in _each_alone(names.experts(key), tensor, split):
                    whole, alone = tensor.part(part), split.pop(stored)
                    base, tuned = (alone, whole) if swap else (whole, alone)
                    own = replace(info, role=part.role, expert=expert)
                    pair = TensorPair(base, tuned, own, None if swap else f"{part.role} of expert {expert}")
                    self.found.setdefault(base.name, []).append(pair)
                    fused.pop(key, None)

    def holds_biases_only(self) -> bool:
        """Whether the tuned side is a file of trained biases, perhaps with a head, and of nothing else."""
        kinds = {self.theirs.info(key).kind for key in self.theirs.tensors}
        rest = {self.ours.info(key).kind for key in self.left}
        return "bias" in kinds and kinds <= {"bias", "head"} and "weight" in rest

    def match_unstored(self) -> None:
        """Pair what the tuned file leaves out with itself, but for a head that another one replaces."""
        new_head = any(self.theirs.info(key).kind == "head" for key in self.right)
        for key in [key for key in self.left if key not in self.theirs.tensors]:
            tensor, info = self.left[key], self.ours.info(key)
            if info.kind != "head" or not new_head:
                pairs = self._parts(key, tensor, tensor, info)
                self.found[tensor.name] = [replace(pair, in_file=False) for pair in pairs]
                self.left.pop(key)

    def _take(self, ours: str, theirs: str, pairs: list[TensorPair]) -> None:
        self.left.pop(ours)
        self.right.pop(theirs)
        self.found[pairs[0].base.name] = pairs

    def set_codes_aside(self) -> None:
        """Take back pairs of floats with whole numbers: a quantised weight's codes are no values.

        So are pairs of what GPTQ or AWQ quantised with anything else: they move weights by more than a step.
        """
        for name, pairs in list(self.found.items()):
            if any(map(_unlike, pairs)) and not any(pair.info.kind == "buffer" for pair in pairs):
                del self.found[name]
                for pair in pairs:
                    for side, tensor in enumerate((pair.base, pair.tuned)):
                        self.extra[side].append(Unmatched(tensor.name, tensor.shape, pair.info, "codes"))

    def pairs_in_order(self) -> tuple[TensorPair, ...]:
        """All pairs, in the order in which the base holds its tensors."""
        order = {tensor.name: number for number, tensor in enumerate(self.ours.tensors.values())}
        groups = sorted(self.found.values(), key=lambda pairs: order.get(pairs[0].base.name, len(order)))
        return tuple(_as_stored(pair) for group in groups for pair in group)

    def leftovers(self) -> tuple[tuple[Unmatched, ...], tuple[Unmatched, ...]]:
        """What is left on either side, with the reason."""
        base = self._reasons(self.left, self.ours, self.theirs)
        tuned = self._reasons(self.right, self.theirs, self.ours)
        return (*base, *self.extra[0]), (*tuned, *self.extra[1])

    def _reasons(self, left: dict[str, Tensor], names: Names, other: Names) -> Iterator[Unmatched]:
        for key, tensor in left.items():
            tied = names.architecture.tied_to(names.own(key))
            if key in other.tensors:
                why: Any = "shape"
            elif tied is not None and tied in other.tensors and other.ties:
                why = "tied"
            else:
                why = "absent"
            yield Unmatched(tensor.name, tensor.shape, _stored(names.info(key), tensor), why)


def _as_stored(pair: TensorPair) -> TensorPair:
    info = _stored(pair.info, pair.base, pair.tuned)
    return pair if info is pair.info else replace(pair, info=info)


def _stored(info: TensorInfo, *tensors: Tensor) -> TensorInfo:
    """`info`, or that of a buffer where no optimiser could move what is stored."""
    never = all(tensor.dtype.name in _NEVER_TRAINED for tensor in tensors)
    return replace(info, kind="buffer") if never else info


def _unlike(pair: TensorPair) -> bool:
    ours, theirs = pair.base.dtype, pair.tuned.dtype
    calibrated = ours.calibrated or theirs.calibrated
    return ours.is_float != theirs.is_float or (calibrated and ours.name != theirs.name)


def _uncontained(key: str) -> str:
    """`key` without the number of a container's only element before the last component."""
    module, _, leaf = key.rpartition(".")
    return f"{module.removesuffix('.0')}.{leaf}"


def _split_pairs(
    names: Names, key: str, tensor: Tensor, split: dict[str, Tensor], swap: bool
) -> Iterator[TensorPair]:
    roles = names.split_names(key)
    parts = {part.role: part for part in names.parts(key)}
    if not roles or roles.keys() != parts.keys():
        return
    windows = {role: tensor.part(part) for role, part in parts.items()}
    if any(roles[role] not in split or split[roles[role]].shape != windows[role].shape for role in roles):
        return
    for role, other in roles.items():
        info = replace(names.info(key), role=role)
        one, two = windows[role], split[other]
        yield TensorPair(two, one, info, role) if swap else TensorPair(one, two, info, role)


def _each_alone(
    cut: Iterable[tuple[int, Part, str]], whole: Tensor, split: Mapping[str, Tensor]
) -> list[tuple[int, Part, str]]:
    """`cut`, where each of its matrices is there alone and of its shape; else nothing."""
    found = []
    for expert, part, stored in cut:
        if stored not in split or split[stored].shape != whole.part(part).shape:
            return []
        found.append((expert, part, stored))
    return found


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
