"""What stands around a tensor: its siblings, base tensors of its shape, other checkpoints of the base."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import field
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from bitfit_probe.frozen import Frozen
from bitfit_probe.pair import Memo

if TYPE_CHECKING:
    from bitfit_probe.align import Alignment, TensorPair
    from bitfit_probe.checkpoint import Tensor
    from bitfit_probe.records import TensorDelta

__all__ = ["Surroundings"]

T = TypeVar("T")

#: Fine-tunes keep a matrix at a cosine above 0.97 to its base (the rxnfp pairs: 0.976 and 0.996), and two
#: different matrices of a model have one near 0. Half way is far from both.
_UNLIKE = 0.5
#: Tensors whose values have a mean, as norm scales do, are never that unlike: these stand out by moving
#: three times as far as their siblings, and by a tenth of their length.
_FAR, _TIMES = 0.1, 3.0


class Surroundings(Frozen, eq=False):
    """The comparison that a tensor is part of.

    Attributes
    ----------
    pairs, rows
        All pairs and what was found of them.
    others
        Other checkpoints of the same base, laid beside it.
    """

    pairs: Sequence[TensorPair]
    rows: Sequence[TensorDelta]
    others: Sequence[Alignment] = field(default=())
    _known: Memo = field(default_factory=Memo, init=False, repr=False)

    def once(self, name: Hashable, make: Callable[[], T]) -> T:
        """What one kind of form worked out of all tensors together."""
        return self._known.once(name, make)

    def strange(self, row: TensorDelta) -> bool:
        """Whether a tensor is much less like its base than its siblings are like theirs."""
        if row.cosine is None or row.relative_l2 is None:
            return False
        usual = self._usual.get((row.info.kind, row.info.role), 0.0)
        far = row.relative_l2 > _FAR and row.relative_l2 > _TIMES * usual
        # Biases begin near zero, so that any training leaves them unlike their base.
        return far or (row.cosine < _UNLIKE and row.info.kind != "bias")

    @cached_property
    def _usual(self) -> dict[tuple[str, str | None], float]:
        found: dict[tuple[str, str | None], list[float]] = {}
        for row in self.rows:
            if row.relative_l2 is not None:
                found.setdefault((row.info.kind, row.info.role), []).append(row.relative_l2)
        return {key: sorted(values)[(len(values) - 1) // 2] for key, values in found.items()}

    def of_shape(self, shape: tuple[int, ...]) -> list[Tensor]:
        """The base's tensors of one shape."""
        return self._by_shape.get(shape, [])

    @cached_property
    def _by_shape(self) -> dict[tuple[int, ...], list[Tensor]]:
        found: dict[tuple[int, ...], list[Tensor]] = {}
        for pair in self.pairs:
            found.setdefault(pair.base.shape, []).append(pair.base)
        return found

    def elsewhere(self, pair: TensorPair) -> list[Tensor]:
        """What the same base tensor became in the other checkpoints."""
        key = pair.base.name, pair.part
        return [by_name[key] for by_name in self._others if key in by_name]

    @cached_property
    def _others(self) -> list[dict[tuple[str, str | None], Tensor]]:
        return [
            {(pair.base.name, pair.part): pair.tuned for pair in other.pairs if pair.in_file}
            for other in self.others
        ]
