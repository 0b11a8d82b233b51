"""What a fleet comes to: who moved alike, who stands apart, who is the same as another."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from bitfit_probe.fleet.manifest import Manifest
from bitfit_probe.records.fleet import Cluster, Fleet, FleetRow, Outlier

if TYPE_CHECKING:
    import numpy.typing as npt

    Vector = npt.NDArray[np.float64]

__all__ = ["ALIKE", "BLOWN_UP", "FAR", "fleet_of"]

#: Cosine to a cluster's mean from which on a checkpoint belongs to it. A convention, set beside a few runs on
#: the embedded sample: three seeds have cosines of 0.62 to 0.65 to each other, and a run with other settings
#: 0.37 to them.
ALIKE = 0.5
#: Times the median change of the biases from which on a checkpoint counts as blown up. A convention.
BLOWN_UP = 10.0
#: Modified z-score, of the logarithm of the change, beyond which a checkpoint stands apart (Iglewicz and
#: Hoaglin 1993); it must also have moved twice or half as far as the median, since runs may be much alike.
FAR, _FACTOR = 3.5, 2.0
#: Checkpoints that it takes to say what is usual.
_ENOUGH = 5


def fleet_of(manifest: Manifest) -> Fleet:
    """A fleet from what its manifest holds."""
    rows = tuple(sorted((entry.row for entry in manifest.entries.values()), key=lambda row: row.tuned))
    known = {row.tuned for row in rows}
    groups = _clusters(rows)
    return Fleet(
        manifest.run.base,
        manifest.run.version,
        rows,
        missing=tuple(name for name in manifest.run.asked if name not in known),
        unmoved=tuple(row.tuned for row in rows if row.unmoved),
        blown_up=tuple(row.tuned for row in rows if _is_blown_up(row, rows)),
        clusters=tuple(group for group in groups if len(group.members) > 1),
        outliers=(*_by_direction(groups), *_by_size(rows)),
        duplicates=_duplicates(rows),
    )


def _moved(rows: Sequence[FleetRow]) -> list[FleetRow]:
    return [row for row in rows if row.direction and row.bias_change]


def _is_blown_up(row: FleetRow, rows: Sequence[FleetRow]) -> bool:
    sizes = [item.bias_change for item in _moved(rows) if item.bias_change]
    usual = median(sizes) if len(sizes) >= _ENOUGH else math.inf
    return row.nonfinite_tensors > 0 or (row.bias_change or 0.0) > BLOWN_UP * usual


def _clusters(rows: Sequence[FleetRow]) -> list[Cluster]:
    """Each checkpoint in turn goes to the cluster whose mean direction is nearest, or begins one."""
    members: list[list[tuple[str, Vector]]] = []
    sums: list[Vector] = []
    for row in _moved(rows):
        unit = np.array(row.direction) / np.linalg.norm(row.direction)
        near = [float(unit @ each) / float(np.linalg.norm(each)) for each in sums]
        at = int(np.argmax(near)) if near else 0
        if not near or near[at] < ALIKE:
            members.append([(row.tuned, unit)])
            sums.append(unit)
        else:
            members[at].append((row.tuned, unit))
            sums[at] = sums[at] + unit
    found = [
        Cluster(tuple(name for name, _ in group), float(np.linalg.norm(total)) / len(group))
        for group, total in zip(members, sums, strict=True)
    ]
    return sorted(found, key=lambda group: -len(group.members))


def _by_direction(groups: Sequence[Cluster]) -> Iterator[Outlier]:
    """Those that moved like nobody else, where half of the fleet moved alike."""
    total = sum(len(group.members) for group in groups)
    if total >= _ENOUGH and 2 * len(groups[0].members) >= total:
        for group in groups:
            if len(group.members) == 1:
                yield Outlier(group.members[0], "its biases moved in a direction of their own")


def _by_size(rows: Sequence[FleetRow]) -> Iterator[Outlier]:
    moved = _moved(rows)
    if len(moved) < _ENOUGH:
        return
    logs = [math.log(row.bias_change or 1.0) for row in moved]
    middle = median(logs)
    spread = median(abs(value - middle) for value in logs)
    for row, value in zip(moved, logs, strict=True):
        away = abs(value - middle)
        if 0.6745 * away > FAR * spread and away > math.log(_FACTOR):
            yield Outlier(row.tuned, f"its biases moved {math.exp(value - middle):.3g} times the median")


def _duplicates(rows: Sequence[FleetRow]) -> tuple[tuple[str, ...], ...]:
    """Those that are the same in every figure; what did not move is the base, and no duplicate."""
    same: dict[str, list[str]] = {}
    for row in rows:
        if row.contents and row.verdict != "identical":
            same.setdefault(row.contents, []).append(row.tuned)
    return tuple(tuple(names) for names in same.values() if len(names) > 1)
