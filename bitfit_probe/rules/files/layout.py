"""BP105."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bitfit_probe.checkpoint import Checkpoint, Tensor
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding, Part, TensorDelta, Unmatched
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.tensors import architecture_of, is_adapter, plain_name

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["layout"]

#: Real fine-tunes keep a matrix at a cosine above 0.97 to its base (the rxnfp pairs: 0.976 and 0.996);
#: two different matrices of a model have one near 0. Half way is far from both.
SAME = 0.5
#: Rows of each part that are compared: enough, as the cosine of unrelated rows falls with their size.
_ROWS = 64
_TOGETHER = (("q", "k", "v"), ("gate", "m2"))


@dataclass(frozen=True)
class _Group:
    """Parts that belong together in one layer: the base's windows, and the tuned ones in the same order."""

    where: str
    names: tuple[str, ...]
    base: tuple[Tensor, ...]
    tuned: tuple[Tensor, ...]
    fused: str | None

    def order(self) -> tuple[int, ...] | None:
        """Which tuned part each base part is; None where that can't be told."""
        cosines = np.array([[_cosine(one, other) for other in self.tuned] for one in self.base])
        best = cosines.argmax(axis=1)
        told = len(set(best)) == len(best) and bool((cosines.max(axis=1) > SAME).all())
        return tuple(int(number) for number in best) if told else None


@rule("BP105", "layout-differs", "error", explains=("BP107", "BP308", "BP309", "BP702"), catalogue=(27,))
def layout(pair: Pair, this: Rule) -> Iterator[Finding]:
    """Matrices are fused on one side only, or stand in another order.

    What it means
    -------------
    One side stores queries, keys and values (or the gate and up branches of a gated MLP) as one tensor, the
    other as several; or two of them changed places.

    Why it matters
    --------------
    A loader that finds no ``q_proj`` starts it at random. A swap is worse, since every name and shape fits:
    nothing warns, and the output is noise.

    How it is recognised
    --------------------
    By layout: a tensor that has the size of several of the other side's. By value: the cosine of each part
    with every other part's base; a part that is nearer to another one's base than to its own was swapped.
    Fused against split is an error where both configs name one model type, a warning where there is no
    config, and a note between model types, as converters mean it so.

    What to do
    ----------
    Convert one side to the other's layout, in the order that the message gives.

    References
    ----------
    vllm-project/vllm#36997, NVIDIA-NeMo/Megatron-Bridge#4706, arcee-ai/mergekit#692
    """
    if is_adapter(pair.tuned):
        return
    groups = [*_known(pair), *_concatenated(pair), *_side_by_side(pair)]
    orders = [(group, group.order()) for group in groups]
    swapped = [(g, o) for g, o in orders if o is not None and o != tuple(range(len(g.names)))]
    if swapped:
        yield _swapped(this, swapped)
    elif any(group.fused for group in groups):
        yield _fused(pair, this, [group for group in groups if group.fused])


def _swapped(this: Rule, swapped: Sequence[tuple[_Group, tuple[int, ...]]]) -> Finding:
    group, order = swapped[0]
    moved = [number for number, other in enumerate(order) if other != number]
    first, second = group.names[moved[0]], group.names[order[moved[0]]]
    right, wrong = (
        _cosine(group.base[moved[0]], group.tuned[order[moved[0]]]),
        _cosine(group.base[moved[0]], group.tuned[moved[0]]),
    )
    return this.finding(
        f"{_long(first)} and {_long(second)} changed places in {len(swapped)} layer tensors, such as "
        f"'{group.where}': cosine {right:.2f} with each other's base, {wrong:.2f} with their own.",
        subjects=tuple(group.where for group, _ in swapped)[:10],
        evidence=(
            Evidence("cosine_with_the_other", right, about=group.where),
            Evidence("cosine_with_its_own", wrong, about=group.where),
        ),
        advice=f"Write {_long(first)} where {_long(second)} stands and the other way round.",
    )


def _fused(pair: Pair, this: Rule, groups: Sequence[_Group]) -> Finding:
    group = groups[0]
    names = ", ".join(map(_long, group.names))
    sides = ("one tensor", "several") if group.fused == "tuned" else ("several tensors", "one")
    ours, theirs = pair.base.config.get("model_type"), pair.tuned.config.get("model_type")
    severity = "warning" if not theirs else "error" if ours in (theirs, None) else "info"
    return this.finding(
        f"{names} stand in {sides[0]} in the tuned checkpoint and in {sides[1]} in the base, in "
        f"{len(groups)} places such as '{group.where}'; a loader for the base's layout finds none of them.",
        severity=severity,  # type: ignore[arg-type]
        subjects=tuple(group.where for group in groups)[:10],
        evidence=(Evidence("fused_tensors", len(groups), "tensors", about=f"{group.fused} side"),),
        advice="Convert it to the layout of the class that config.json names, or name the other class there.",
    )


def _long(role: str) -> str:
    return {"q": "queries", "k": "keys", "v": "values", "gate": "gate", "m2": "up"}.get(role, role)


def _known(pair: Pair) -> Iterator[_Group]:
    """Parts that the alignment already paired across layouts."""
    by_base, by_tuned = defaultdict(set), defaultdict(set)
    parts = [match for match in pair.alignment.pairs if match.part is not None]
    for match in parts:
        by_base[match.base.name].add(match.tuned.name)
        by_tuned[match.tuned.name].add(match.base.name)
    fused = [(name, "tuned") for name, split in by_tuned.items() if len(split) > 1]
    fused += [(name, "base") for name, split in by_base.items() if len(split) > 1]
    for name, side in fused:
        group = [p for p in parts if (p.tuned.name if side == "tuned" else p.base.name) == name]
        roles = tuple(str(p.part) for p in group)
        yield _Group(name, roles, tuple(p.base for p in group), tuple(p.tuned for p in group), side)


def _concatenated(pair: Pair) -> Iterator[_Group]:
    """A tensor left over on one side that has the size and the values of several of the other."""
    ours, theirs = pair.alignment.unmatched_base, pair.alignment.unmatched_tuned
    yield from _joined(pair, (ours, pair.base), (theirs, pair.tuned), "tuned")
    yield from _joined(pair, (theirs, pair.tuned), (ours, pair.base), "base")


_Left = tuple[Sequence[Unmatched], Checkpoint]


def _joined(pair: Pair, split: _Left, fused: _Left, side: str) -> Iterator[_Group]:
    pieces = _split(split[0])
    for whole in fused[0]:
        if whole.why != "absent" or len(whole.shape) not in (1, 2):
            continue
        here = (roles for (layer, _), roles in pieces.items() if layer == whole.info.layer)
        for roles in here:
            tensors = {role: split[1].tensors[name] for role, name in roles.items()}
            windows = _windows(fused[1].tensors[whole.name], tensors)
            if windows is None:
                continue
            own = tuple(tensors.values())
            base, tuned = (own, windows) if side == "tuned" else (windows, own)
            group = _Group(whole.name, tuple(tensors), base, tuned, side)
            if group.order() is not None:
                yield group
                break


def _split(pieces: Sequence[Unmatched]) -> dict[tuple[int | None, str], dict[str, str]]:
    """Left-over tensors of roles that are often fused, by layer and last component."""
    found: dict[tuple[int | None, str], dict[str, str]] = defaultdict(dict)
    for item in pieces:
        if item.why == "absent" and any(item.info.role in roles for roles in _TOGETHER):
            leaf = item.name.rpartition(".")[2]
            together = next(roles for roles in _TOGETHER if item.info.role in roles)
            found[item.info.layer, f"{leaf}-{together[0]}"][str(item.info.role)] = item.name
    complete = (key for key, roles in found.items() if len(roles) > 1)
    order = {role: number for roles in _TOGETHER for number, role in enumerate(roles)}
    return {key: dict(sorted(found[key].items(), key=lambda role: order[role[0]])) for key in complete}


def _windows(whole: Tensor, pieces: dict[str, Tensor]) -> tuple[Tensor, ...] | None:
    """Equal windows on `whole`, one a piece, along the axis on which the sizes add up."""
    shapes = {tensor.shape for tensor in pieces.values()}
    if len(shapes) != 1 or not whole.is_contiguous:
        return None
    (shape,) = shapes
    for axis in range(len(shape)):
        wanted = list(shape)
        wanted[axis] *= len(pieces)
        if tuple(wanted) == whole.shape:
            size = shape[axis]
            cuts = [Part(role, whole.shape, axis, n * size, (n + 1) * size) for n, role in enumerate(pieces)]
            return tuple(whole.part(cut) for cut in cuts)
    return None


def _side_by_side(pair: Pair) -> Iterator[_Group]:
    """Matrices of one layer of which the base's and the tuned one have little in common."""
    strange = [row for row in pair.comparison.tensors if _strange(row)]
    by_layer: dict[tuple[object, ...], dict[str, TensorDelta]] = defaultdict(dict)
    for row in strange:
        for roles in _TOGETHER:
            if row.info.role in roles:
                by_layer[row.info.stack, row.info.layer, roles][str(row.info.role)] = row
        yield from _halves(pair, row.name, row.tuned_name)
    for found in by_layer.values():
        base = tuple(pair.base.tensors[row.name] for row in found.values())
        tuned = tuple(pair.tuned.tensors[row.tuned_name] for row in found.values())
        if len(found) > 1 and len({tensor.shape for tensor in (*base, *tuned)}) == 1:
            yield _Group(next(iter(found.values())).tuned_name, tuple(found), base, tuned, None)


def _strange(row: TensorDelta) -> bool:
    matrix = row.info.kind == "weight" and row.part is None
    return matrix and row.cosine is not None and row.cosine < SAME


def _halves(pair: Pair, base_name: str, tuned_name: str) -> Iterator[_Group]:
    """The parts of a matrix that both sides store fused."""
    base, tuned = pair.base.tensors[base_name], pair.tuned.tensors[tuned_name]
    parts = architecture_of(pair).parts(plain_name(tuned_name), tuned.shape)
    sizes = {part.stop - part.start for part in parts}
    if len(parts) > 1 and len(sizes) == 1 and base.is_contiguous and tuned.is_contiguous:
        names = tuple(part.role for part in parts)
        yield _Group(tuned_name, names, tuple(map(base.part, parts)), tuple(map(tuned.part, parts)), None)


def _cosine(one: Tensor, other: Tensor) -> float:
    if one.shape != other.shape:
        return 0.0
    first, second = _some(one), _some(other)
    scale = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(np.sum(first * second)) / scale if scale and np.isfinite(scale) else 0.0


def _some(tensor: Tensor) -> npt.NDArray[np.float64]:
    return tensor.rows(min(_ROWS, tensor.shape[0])).values() if tensor.shape else tensor.values()
