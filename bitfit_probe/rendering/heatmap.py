"""Roles × layers as heat maps: the BitFit paper's figure, for charts, pages and tables alike."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from bitfit_probe.frozen import Frozen
from bitfit_probe.records import Comparison, RoleDelta, TensorDelta

__all__ = [
    "Grid",
    "bias_roles_or_matrices",
    "grids",
    "in_units",
    "matrix_roles",
    "mean_of",
    "outside",
    "peak_of",
    "power_of_ten",
    "scaled",
    "superscript",
    "units",
]

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
#: 10 to a lower power is 0 in float64.
_LEAST_POWER = -307


class Grid(Frozen):
    """mean|Δ| of one stack of layers.

    Attributes
    ----------
    stack
        ``encoder``, ``decoder``, …; None where there is one only.
    roles
        Rows, by their total over layers, largest first (Ben Zaken et al. 2022, figure 2).
    layers
        Columns, in order.
    cells
        What is known, by role and layer.
    """

    stack: str | None
    roles: tuple[str, ...]
    layers: tuple[int, ...]
    cells: dict[tuple[str, int], RoleDelta]

    def mean(self, role: str) -> float | None:
        """The row's last column: its mean over the layers that have the role."""
        return mean_of(self.cells[role, layer] for layer in self.layers if (role, layer) in self.cells)

    def blocks(self, most: int) -> tuple[tuple[int, ...], ...]:
        """The layers cut into pieces of equal length, at most `most` each."""
        count = -(-len(self.layers) // most)
        share = -(-len(self.layers) // count)
        return tuple(self.layers[at : at + share] for at in range(0, len(self.layers), share))


def grids(roles: Sequence[RoleDelta]) -> tuple[Grid, ...]:
    """One grid a stack of layers; what lies outside the layers is left out."""
    inside = [role for role in roles if role.layer is not None]
    return tuple(
        _grid(stack, [role for role in inside if role.stack == stack])
        for stack in dict.fromkeys(role.stack for role in inside)
    )


def _grid(stack: str | None, roles: list[RoleDelta]) -> Grid:
    totals: dict[str, float] = {}
    for role in roles:
        totals[role.role] = totals.get(role.role, 0.0) + (role.mean_abs_delta or 0.0)
    return Grid(
        stack,
        tuple(sorted(totals, key=lambda name: -totals[name])),
        tuple(sorted({role.layer for role in roles if role.layer is not None})),
        {(role.role, role.layer): role for role in roles if role.layer is not None},
    )


def outside(roles: Iterable[RoleDelta]) -> tuple[RoleDelta, ...]:
    """Roles that belong to no layer: the embedding norm, the pooler."""
    return tuple(role for role in roles if role.layer is None)


def mean_of(roles: Iterable[RoleDelta]) -> float | None:
    """Mean of the known mean|Δ|; None where none is known."""
    known = [role.mean_abs_delta for role in roles if role.mean_abs_delta is not None]
    return sum(known) / len(known) if known else None


def peak_of(roles: Iterable[RoleDelta]) -> float:
    """The largest mean|Δ|; 0 where none is known."""
    return max((role.mean_abs_delta or 0.0 for role in roles), default=0.0)


def power_of_ten(peak: float) -> int:
    """The power of ten that leaves one digit before the point of the largest mean|Δ|.

    >>> power_of_ten(0.0042)
    -3
    """
    return max(math.floor(math.log10(peak)), _LEAST_POWER) if 0 < peak < math.inf else 0


def units(power: int) -> str:
    """The unit in words, empty for 10⁰.

    >>> units(-3)
    'in units of 10⁻³'
    """
    return "" if power == 0 else f"in units of 10{superscript(power)}"


def superscript(power: int) -> str:
    """`power` as an exponent.

    >>> superscript(-12)
    '⁻¹²'
    """
    return str(power).translate(_SUPERSCRIPT)


def scaled(role: RoleDelta | None, power: int) -> str:
    """A cell's text: the figure in units of 10^power, ``·`` where nothing moved, ``–`` where unknown."""
    if role is None:
        return ""
    if not role.moved:
        return "·"
    return in_units(role.mean_abs_delta, power)


def in_units(value: float | None, power: int) -> str:
    """A figure in units of 10^power, ``–`` where unknown."""
    return "–" if value is None else f"{value / 10.0**power:.2f}"


def bias_roles_or_matrices(comparison: Comparison) -> tuple[RoleDelta, ...]:
    """The biases' figures; where no bias inside the layers moved, those of the matrices."""
    if any(role.moved and role.layer is not None for role in comparison.roles):
        return comparison.roles
    return matrix_roles(comparison)


def matrix_roles(comparison: Comparison) -> tuple[RoleDelta, ...]:
    """The same figures for weight matrices inside the layers, for models and methods without biases."""
    groups: dict[tuple[str, str | None, int], list[TensorDelta]] = {}
    for row in comparison.tensors:
        place = row.info
        if place.kind == "weight" and place.layer is not None and place.role is not None:
            groups.setdefault((place.role, place.stack, place.layer), []).append(row)
    return tuple(_role(*key, rows) for key, rows in groups.items())


def _role(role: str, stack: str | None, layer: int, rows: list[TensorDelta]) -> RoleDelta:
    known = [(row.mean_abs_delta, row.parameters) for row in rows if row.mean_abs_delta is not None]
    elements = sum(count for _, count in known)
    peaks = [row.max_abs_delta for row in rows if row.max_abs_delta is not None]
    return RoleDelta(
        role,
        stack,
        layer,
        tensors=len(rows),
        moved=sum(bool(row.moved) for row in rows),
        mean_abs_delta=sum(mean * count for mean, count in known) / elements if elements else None,
        max_abs_delta=max(peaks, default=None),
        relative_l2=None,
    )
