"""How much of the base was compared, and why the rest was not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

from bitfit_probe.align import Alignment, align
from bitfit_probe.checkpoint import Checkpoint, open_checkpoint
from bitfit_probe.errors import BitfitProbeError
from bitfit_probe.records import Coverage, Reason, TensorDelta, TensorInfo, Uncovered, Unmatched

__all__ = ["ENOUGH", "coverage", "in_body"]

#: Share of the base that may be missing before a verdict holds only for what was compared. Real fine-tunes
#: lose a pooler (counted apart) or a few rows of a vocabulary; a lost layer of twelve is 8 %.
ENOUGH = 0.95


def coverage(
    base: Checkpoint, tuned: Checkpoint, alignment: Alignment, rows: Sequence[TensorDelta]
) -> Coverage:
    """Count the base's parameters by what is known of them; see `Coverage` for what counts as what."""
    counts: Counter[tuple[bool, str]] = Counter()
    rest: dict[Reason, list[tuple[str, int]]] = {}
    for row in rows:
        if row.info.kind != "buffer":
            counts[in_body(row.info), row.judged_by] += row.parameters
        if in_body(row.info) and row.judged_by == "not-checked":
            rest.setdefault("biases-only", []).append((row.name, row.parameters))
    missing = [item for item in alignment.unmatched_base if item.why != "tied"]
    why = _Reasons(base, tuned, alignment)
    for item in missing:
        size = prod(item.shape)
        if item.info.kind != "buffer":
            counts[in_body(item.info), "missing"] += size
        if in_body(item.info):
            rest.setdefault(why.of(item), []).append((item.name, size))
    return _counted(counts, tuple(_uncovered(rest)))


def _counted(counts: Counter[tuple[bool, str]], rest: tuple[Uncovered, ...]) -> Coverage:
    whole = {body: sum(n for (where, _), n in counts.items() if where == body) for body in (True, False)}
    read = {body: counts[body, "compared"] + counts[body, "checksum"] for body in (True, False)}
    left_out = {body: counts[body, "not-in-file"] for body in (True, False)}
    lost = sum(item.parameters for item in rest if item.reason != "biases-only")
    return Coverage(
        base_parameters=whole[True],
        compared_parameters=read[True],
        by_design_parameters=left_out[True],
        share=(read[True] + left_out[True]) / whole[True] if whole[True] else None,
        enough=lost <= (1 - ENOUGH) * whole[True],
        head_parameters=whole[False],
        compared_head_parameters=read[False] + left_out[False],
        rest=rest,
    )


def _uncovered(rest: dict[Reason, list[tuple[str, int]]]) -> Iterator[Uncovered]:
    found = (
        Uncovered(reason, len({name for name, _ in items}), sum(size for _, size in items))
        for reason, items in rest.items()
    )
    return iter(sorted(found, key=lambda item: (-item.parameters, item.reason)))


def in_body(info: TensorInfo) -> bool:
    """Whether loaders keep it whatever the task is: heads and poolers are drawn or dropped with the class."""
    return info.kind not in ("head", "buffer") and info.role != "pooler"


# Why --------------------------------------------------------------------------------------------------


@dataclass
class _Reasons:
    """Why tensors of the base have no partner; what it takes is built when the first one is asked about."""

    base: Checkpoint
    tuned: Checkpoint
    alignment: Alignment
    _taken: Counter[tuple[int, ...]] = field(default_factory=Counter)

    def of(self, item: Unmatched) -> Reason:
        """The reason that says most."""
        known: dict[str, Reason] = {"rows": "rows-cut", "codes": "quantised", "shape": "shape"}
        if item.why in known:
            return known[item.why]
        tests: tuple[tuple[Reason, Callable[[Unmatched], bool]], ...] = (
            ("other-file", lambda item: item.name in self._beside),
            ("part-absent", lambda item: item.info.stack is not None and _stack(item) not in self._present),
            ("other-name", self._takes_shape),
            ("layer-absent", lambda item: item.info.layer is not None and _layer(item) not in self._present),
        )
        return next((reason for reason, holds in tests if holds(item)), "absent")

    @cached_property
    def _present(self) -> set[tuple[str | None, int | None]]:
        """Stacks, and layers, of which anything has a partner."""
        infos = [pair.info for pair in self.alignment.pairs if in_body(pair.info)]
        return {(info.stack, layer) for info in infos for layer in (info.layer, None)}

    @cached_property
    def _beside(self) -> set[str]:
        """Names of the base that weight files beside the tuned ones have, although those were not read."""
        names: set[str] = set()
        for path in self.tuned.siblings:
            try:
                names |= {pair.base.name for pair in align(self.base, open_checkpoint(path)).pairs}
            except (BitfitProbeError, OSError):
                continue
        return names

    @cached_property
    def _shapes(self) -> Counter[tuple[int, ...]]:
        left = (item for item in self.alignment.unmatched_tuned if item.info.kind != "buffer")
        return Counter(item.shape for item in left if len(item.shape) > 1)

    def _takes_shape(self, item: Unmatched) -> bool:
        if self._taken[item.shape] >= self._shapes[item.shape]:
            return False
        self._taken[item.shape] += 1
        return True


def _stack(item: Unmatched) -> tuple[str | None, int | None]:
    return item.info.stack, None


def _layer(item: Unmatched) -> tuple[str | None, int | None]:
    return item.info.stack, item.info.layer
