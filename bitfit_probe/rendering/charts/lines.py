"""Curves: a run's roles over its steps, and the singular values of what matrices changed by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from bitfit_probe.records.measures import Spectrum, Trajectory
from bitfit_probe.rendering.charts.canvas import INK, LINES, MARKERS, MUTED, SURFACE, Canvas, Panel, label
from bitfit_probe.rendering.heatmap import superscript

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["spectra_lines", "trajectory_lines"]

_LEFT, _HIGH, _FOOT, _NAMES = 0.62, 2.5, 0.5, 1.25
_LINE_HEIGHT = 0.155


def trajectory_lines(trajectory: Trajectory, *, title: str = "") -> Panel | None:
    """‖Δb‖₂ by role over the steps, each line named at its end; None for fewer than two checkpoints."""
    if len(trajectory.steps) < 2 or not trajectory.roles:
        return None
    width = 5.2

    def draw(canvas: Canvas) -> None:
        axes = canvas.axes(_LEFT, 0.1, width, _HIGH)
        for number, norms in enumerate(trajectory.norms):
            _curve(axes, number, trajectory.steps, norms, clipped=False)
            stop = trajectory.stopped_at[number]
            if stop in trajectory.steps:
                at = norms[trajectory.steps.index(stop)]
                ring: dict[str, Any] = {"markersize": 11, "markerfacecolor": "none", "markeredgecolor": INK}
                axes.plot(stop, at, marker="o", clip_on=False, **ring)
        axes.set(xlabel="training step (ringed: stopped moving)", ylabel="‖Δb‖₂ from the base")
        axes.set_ylim(bottom=0)
        axes.set_xlim(right=trajectory.steps[-1])
        axes.set_xticks(trajectory.steps[:: -(-len(trajectory.steps) // 10)])
        ends = [norms[-1] for norms in trajectory.norms]
        _names(axes, ends, trajectory.roles, _HIGH)

    return Panel(_LEFT + width + _NAMES, 0.1 + _HIGH + _FOOT, draw, _trajectory_words(trajectory), title)


def _trajectory_words(trajectory: Trajectory) -> str:
    ends = ", ".join(
        f"{role} {norms[-1]:.3g}{'' if stop is None else f' (stopped moving at step {stop})'}"
        for role, norms, stop in zip(trajectory.roles, trajectory.norms, trajectory.stopped_at, strict=True)
    )
    first, last = trajectory.steps[0], trajectory.steps[-1]
    return f"Distance of the biases from the base from step {first} to {last}; at the end: {ends}."


def _curve(
    axes: Axes,
    number: int,
    across: Sequence[float],
    up: Sequence[float],
    marks: Any = 1,
    *,
    clipped: bool = True,
) -> None:
    import seaborn

    kind = number // len(LINES)
    seaborn.lineplot(
        x=list(across),
        y=list(up),
        ax=axes,
        color=LINES[number % len(LINES)],
        linestyle=("-", "--", ":")[kind % 3],
        linewidth=1.6,
        marker=MARKERS[number % len(MARKERS)],
        markersize=5,
        markeredgecolor=SURFACE,
        markevery=marks,
        clip_on=clipped,
        errorbar=None,
        estimator=None,
    )


def _names(axes: Axes, ends: Sequence[float], names: Sequence[str], height: float) -> None:
    """Names at the lines' ends, moved apart where they would overlap, each with its marker."""
    low, high = axes.get_ylim()
    least = (high - low) * _LINE_HEIGHT / height
    order = sorted(range(len(ends)), key=lambda number: ends[number])
    places: list[float] = []
    for number in order:
        places.append(max(ends[number], places[-1] + least if places else low))
    over = places[-1] - (high - least / 2)
    if over > 0:
        places = [place - over for place in places]
        for index in range(len(places) - 2, -1, -1):
            places[index] = min(max(ends[order[index]], low), places[index], places[index + 1] - least)
    across = axes.get_yaxis_transform()
    for number, place in zip(order, places, strict=True):
        axes.plot(
            [1.0, 1.03, 1.045],
            [ends[number], place, place],
            transform=across,
            color=MUTED,
            linewidth=0.6,
            clip_on=False,
        )
        axes.plot(
            1.06,
            place,
            transform=across,
            marker=MARKERS[number % len(MARKERS)],
            color=LINES[number % len(LINES)],
            markersize=5,
            clip_on=False,
        )
        axes.text(1.085, place, names[number], transform=across, va="center", size=8, color=INK)


# Spectra ------------------------------------------------------------------------------------------


def spectra_lines(spectra: Sequence[Spectrum], *, title: str = "") -> Panel | None:
    """Singular values beside the share of the change that the first r explain; None without spectra.

    One line a matrix, or a role's median matrix (by effective rank) where there are more than eight.
    """
    shown = _chosen([spectrum for spectrum in spectra if any(spectrum.singular_values)])
    if not shown:
        return None
    width = 2.75

    def draw(canvas: Canvas) -> None:
        values = canvas.axes(_LEFT, 0.1, width, _HIGH)
        energy = canvas.axes(_LEFT + width + 0.75, 0.1, width, _HIGH)
        for number, (_, spectrum) in enumerate(shown):
            found = [value for value in spectrum.singular_values if value > 0]
            ranks = _thinned(len(found))
            marks = [at for at, rank in enumerate(ranks) if rank in _doublings(len(found))]
            shares = _energy(found)
            _curve(values, number, ranks, [found[rank - 1] for rank in ranks], marks)
            _curve(energy, number, ranks, [shares[rank - 1] for rank in ranks], marks)
        values.set(xscale="log", yscale="log", xlabel="rank", ylabel="singular value of Δ")
        _keep_decades(values, shown)
        energy.set(xscale="log", xlabel="rank", ylabel="share of ‖Δ‖² explained", ylim=(0, 1.04))
        energy.axhline(0.9, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        for axes in (values, energy):
            axes.minorticks_off()
            _plain_ranks(axes, max(len(spectrum.singular_values) for _, spectrum in shown))
        _key(canvas, _LEFT + 2 * width + 0.95, [name for name, _ in shown])

    return Panel(_LEFT + 2 * width + 0.95 + 1.6, 0.1 + _HIGH + _FOOT, draw, _spectra_words(shown), title)


def _keep_decades(axes: Axes, shown: Sequence[tuple[str, Spectrum]]) -> None:
    """Singular values that are rounding only would squeeze the rest."""
    peak = max(spectrum.singular_values[0] for _, spectrum in shown)
    low = min(min(v for v in spectrum.singular_values if v > 0) for _, spectrum in shown)
    least, most = max(low * 0.7, peak * 1e-7), peak * 1.6
    decades = range(math.ceil(math.log10(least)), math.floor(math.log10(most)) + 1)
    axes.set_yticks([10.0**power for power in decades], [f"10{superscript(power)}" for power in decades])
    axes.set_ylim(least, most)


def _doublings(most: int) -> list[int]:
    return [2**power for power in range(most.bit_length()) if 2**power <= most]


def _thinned(most: int, points: int = 80) -> list[int]:
    """Ranks up to `most`, evenly on a logarithmic axis: no eye tells more points apart."""
    spread = (round(most ** (at / points)) for at in range(points + 1))
    return sorted({*spread, *_doublings(most)})


def _plain_ranks(axes: Axes, most: int) -> None:
    ranks = _doublings(most)
    ranks = ranks if len(ranks) < 8 else ranks[::2]
    axes.set_xticks(ranks, [str(rank) for rank in ranks])


def _key(canvas: Canvas, left: float, names: Sequence[str]) -> None:
    axes = canvas.axes(left, 0.1, 1.9, _HIGH)
    axes.set(xlim=(0, 1.9), ylim=(_HIGH, 0))
    axes.axis("off")
    for number, name in enumerate(names):
        at = 0.12 + number * 0.2
        axes.plot([0, 0.24], [at, at], color=LINES[number % len(LINES)], linewidth=1.6)
        axes.plot(
            0.12, at, marker=MARKERS[number % len(MARKERS)], color=LINES[number % len(LINES)], markersize=5
        )
        axes.text(0.34, at, name, va="center", size=8, color=INK)


def _chosen(spectra: Sequence[Spectrum]) -> list[tuple[str, Spectrum]]:
    if len(spectra) <= len(LINES):
        return [(label(_title(spectrum), 22), spectrum) for spectrum in spectra]
    roles: dict[str, list[Spectrum]] = {}
    for spectrum in spectra:
        roles.setdefault(spectrum.role or "other", []).append(spectrum)
    chosen = []
    for role, group in list(roles.items())[: len(LINES)]:
        group = sorted(group, key=lambda spectrum: spectrum.effective_rank)
        many = f", median of {len(group)}" if len(group) > 1 else ""
        chosen.append((label(f"{role}{many}", 22), group[len(group) // 2]))
    return chosen


def _title(spectrum: Spectrum) -> str:
    if spectrum.role is None:
        return spectrum.name
    return spectrum.role if spectrum.layer is None else f"{spectrum.role} {spectrum.layer}"


def _energy(values: Sequence[float]) -> list[float]:
    peak = values[0]
    squares = [(value / peak) ** 2 for value in values]
    total = sum(squares)
    return [part / total for part in accumulate(squares)]


def _spectra_words(shown: Sequence[tuple[str, Spectrum]]) -> str:
    ranks = ", ".join(f"{name}: {spectrum.effective_rank:.3g}" for name, spectrum in shown)
    return f"Singular values of the change and the share they explain; effective ranks: {ranks}."
