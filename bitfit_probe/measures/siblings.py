"""What is alike must have moved alike: one role in all layers, the experts of a layer, the layers of a stack.

Over the figures that the comparison has: nothing is read again. Movement is √(Σ Δ² / n), which Adam makes
about equal for tensors of any size; it is compared by the median and the median absolute deviation of its
logarithm, which few strangers do not move (Hampel 1974).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING, Any

from bitfit_probe.forms import forms_of_pair
from bitfit_probe.forms.surroundings import Surroundings
from bitfit_probe.frozen import Frozen
from bitfit_probe.records.forms import USUAL, Form
from bitfit_probe.records.siblings import Apart, How

if TYPE_CHECKING:
    from bitfit_probe.pair import Pair
    from bitfit_probe.records import TensorDelta

__all__ = ["siblings_of"]

#: With fewer moving siblings than these none is the usual one.
_LEAST = 4
#: Ten times, and six deviations (1.4826 · MAD of a normal sample): a layer-wise decay of the rate spreads a
#: family evenly, and a wide spread is no stranger.
_TIMES, _DEVIATIONS = 10.0, 6 * 1.4826
#: A cosine to the base that training leaves far behind it, as in `bitfit_probe.forms.surroundings`.
_UNLIKE = 0.5
#: One above this is like its base, however much liker its siblings are.
_LIKE = 0.9
#: At least this share of a stack's layers must have moved, or the others are what is left alone.
_MOVING_LAYERS = 0.25
#: Where rounding swallows steps, whole tensors rest by chance: most elements of the siblings must have moved.
_MOST_ELEMENTS = 0.5
#: A kind of module that rests everywhere is worth a word where at most this share of the kinds does.
_FEW_KINDS = 1 / 3
#: A change of this many roundings is no chance.
_ABOVE_FLOOR = 4.0
_BODY = ("bias", "weight", "norm", "embedding")

Place = tuple[str | None, int]

_EXPERT = re.compile(r"\bexperts\.\d+\b")


def siblings_of(pair: Pair) -> tuple[Apart, ...]:
    """What stands out in one comparison, worked out once; what the files explain is marked as explained."""
    return pair.once("siblings", lambda: tuple(_Families(pair).apart()))


class _Families(Frozen):
    pair: Pair

    def apart(self) -> Iterator[Apart]:
        if not any(row.moved for row in self.rows):
            return
        yield from self._resting_layers()
        yield from self._resting_kinds()
        for kind, members in self.families.items():
            yield from self._resting(kind, members)
            yield from self._far_or_near(kind, members)
        yield from self._unlike()

    @cached_property
    def rows(self) -> list[TensorDelta]:
        """Rows inside layers that were compared or are known to be the base's."""
        rows = (row for row in self.pair.comparison.tensors if row.info.kind in _BODY)
        return [row for row in rows if row.info.layer is not None and row.parameters]

    @cached_property
    def forms(self) -> dict[str, Form | None]:
        """What became of each row, by its name."""
        both = zip(self.pair.comparison.tensors, forms_of_pair(self.pair).rows, strict=True)
        return {_name(row): form for row, form in both}

    @cached_property
    def moving_kinds(self) -> set[str]:
        return {row.info.kind for row in self.rows if row.moved}

    @cached_property
    def layers(self) -> dict[Place, list[TensorDelta]]:
        """What could have moved, by stack and layer."""
        out: dict[Place, list[TensorDelta]] = {}
        for row in self.rows:
            if row.info.kind in self.moving_kinds and row.moved is not None:
                out.setdefault(_place(row), []).append(row)
        return out

    @cached_property
    def families(self) -> dict[tuple[str | None, str], list[TensorDelta]]:
        """The same module in all layers, by stack and name."""
        out: dict[tuple[str | None, str], list[TensorDelta]] = {}
        for row in self.rows:
            out.setdefault((row.info.stack, _kind(row)), []).append(row)
        return out

    @cached_property
    def still(self) -> set[Place]:
        """Layers in which nothing moved."""
        return {place for place, rows in self.layers.items() if not any(row.moved for row in rows)}

    def _resting_layers(self) -> Iterator[Apart]:
        for stack in dict.fromkeys(stack for stack, _ in self.layers):
            every = sorted(layer for own, layer in self.layers if own == stack)
            still = [layer for layer in every if (stack, layer) in self.still]
            if still and len(every) - len(still) >= _MOVING_LAYERS * len(every):
                names = [_name(row) for layer in still for row in self.layers[stack, layer]]
                explained = _explained(self.pair, stack, every, still)
                moving = len(every) - len(still)
                yield _apart("layers at rest", names, moving, still, stack, explained=explained)

    def _resting_kinds(self) -> Iterator[Apart]:
        """Kinds of matrices that rest in all layers, where nearly all other kinds moved."""
        kinds: dict[tuple[str | None, str], list[TensorDelta]] = {}
        for (stack, kind), rows in self.families.items():
            if rows[0].info.kind == "weight":
                kinds.setdefault((stack, _EXPERT.sub("experts.*", kind)), []).extend(rows)
        resting = {key: rows for key, rows in kinds.items() if not any(row.moved for row in rows)}
        if not resting or len(resting) > _FEW_KINDS * len(kinds):
            return
        for (stack, kind), rows in resting.items():
            if all(row.moved is False for row in rows):
                layers = [row.info.layer for row in rows]
                yield _apart("kind at rest", map(_name, rows), len(kinds) - len(resting), layers, stack, kind)

    def _resting(self, key: tuple[str | None, str], members: Sequence[TensorDelta]) -> Iterator[Apart]:
        members = [row for row in members if _place(row) not in self.still and not self._cancels(row)]
        still = [row for row in members if row.moved is False]
        moved = [row for row in members if row.moved]
        shares = [row.above_rounding for row in moved if row.above_rounding is not None]
        if not still or len(moved) < max(2, 2 * len(still)) or not shares or median(shares) < _MOST_ELEMENTS:
            return
        layers = [row.info.layer for row in still]
        explained = _explained(self.pair, key[0], [row.info.layer for row in members], layers)
        yield _apart("at rest", map(_name, still), len(moved), layers, *key, explained=explained)

    def _far_or_near(self, key: tuple[str | None, str], members: Sequence[TensorDelta]) -> Iterator[Apart]:
        reach = [(row, far) for row in members if not self._cancels(row) and (far := self._reach(row))]
        if len(reach) < _LEAST:
            return
        centre = median(math.log(far) for _, far in reach)
        spread = median(abs(math.log(far) - centre) for _, far in reach)
        for row, far in reach:
            away = math.log(far) - centre
            if abs(away) > math.log(_TIMES) and abs(away) > _DEVIATIONS * spread:
                how: How = "far" if away > 0 else "near"
                figures: dict[str, Any] = {"figure": far, "usual": math.exp(centre)}
                yield _apart(how, [_name(row)], len(reach) - 1, [row.info.layer], *key, **figures)

    def _reach(self, row: TensorDelta) -> float | None:
        """√(Σ Δ² / n); None where it is within a few roundings, or another form says what it is."""
        form = self.forms[_name(row)]
        if not row.l2_delta or row.l2_delta <= _ABOVE_FLOOR * (row.rounding_floor or 0.0):
            return None
        return row.l2_delta / math.sqrt(row.parameters) if form is None or form.name in USUAL else None

    def _unlike(self) -> Iterator[Apart]:
        """What is much less like its base than its siblings are, and no form explains."""
        around = Surroundings(self.pair.alignment.pairs, self.pair.comparison.tensors)
        for row in self.rows:
            form = self.forms[_name(row)]
            if form is None or form.name != "trained" or row.info.kind == "bias" or not around.strange(row):
                continue
            members = self.families.get((row.info.stack, _kind(row)), ())
            moved = [other for other in members if other.moved and other is not row]
            cosines = [other.cosine for other in moved if other.cosine is not None]
            if len(cosines) < _LEAST - 1 or row.cosine is None:
                continue
            usual = median(cosines)
            if row.cosine < _UNLIKE or 1 - row.cosine > max(1 - _LIKE, _TIMES * (1 - usual)):
                figures: dict[str, Any] = {"figure": row.cosine, "usual": usual}
                key = row.info.stack, _kind(row)
                yield _apart("unlike", [_name(row)], len(cosines), [row.info.layer], *key, **figures)

    def _cancels(self, row: TensorDelta) -> bool:
        """Whether softmax cancels it, so that what it does is noise."""
        key_bias = row.info.role == "k" and row.info.kind == "bias"
        return key_bias and self.pair.comparison.key_bias_cancels is not False


def _apart(
    how: How,
    names: Iterable[str],
    siblings: int,
    layers: Iterable[int | None],
    stack: str | None = None,
    kind: str | None = None,
    **more: Any,
) -> Apart:
    known = tuple(sorted({layer for layer in layers if layer is not None}))
    return Apart(how, tuple(names), siblings, known, stack, kind, **more)


def _place(row: TensorDelta) -> Place:
    assert row.info.layer is not None
    return row.info.stack, row.info.layer


def _kind(row: TensorDelta) -> str:
    """The name behind the layer's number."""
    return _name(row).partition(f".{row.info.layer}.")[2] or _name(row)


def _name(row: TensorDelta) -> str:
    return f"{row.name}[{row.part}]" if row.part else row.name


def _explained(
    pair: Pair, stack: str | None, every: Iterable[int | None], still: Sequence[int | None]
) -> str | None:
    """The setting beside the weights that leaves these layers alone."""
    settings = pair.read_json("adapter_config.json") or {}
    chosen = settings.get("layers_to_transform")
    wanted = {chosen} if isinstance(chosen, int) else set(chosen) if isinstance(chosen, list) else set()
    if wanted and not wanted & set(still):
        return "layers_to_transform in adapter_config.json"
    known = [layer for layer in every if layer is not None]
    for config in (pair.tuned.config, pair.base.config) if "vision" in (stack or "") else ():
        if _behind_feature_layer(config, len(set(known)), still):
            return "vision_feature_layer in config.json"
    return None


def _behind_feature_layer(config: Mapping[str, Any], count: int, still: Sequence[int | None]) -> bool:
    """Whether only those layers rest that come after the one whose features are used."""
    used = config.get("vision_feature_layer")
    if not isinstance(used, int):
        return False
    # hidden_states[0] is the embedding, so the last layer used is one below the index.
    last = used - 1 if used >= 0 else count + used
    return all(layer is not None and layer > last for layer in still)
