"""The diff in a terminal of any width: a sentence, roles × layers, the tensors that moved most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bitfit_probe.records import CheckpointInfo, Comparison, Diff, RoleDelta, TensorDelta, Unmatched
from bitfit_probe.records.measures import By
from bitfit_probe.records.report import Measured, Report
from bitfit_probe.rendering.grids import Grid, grids, in_units, outside, peak_of, power_of_ten, scaled, units
from bitfit_probe.rendering.measures_as_text import (
    likeness_lines,
    ranking_lines,
    spectra_lines,
    trained_enough,
    trajectory_lines,
)
from bitfit_probe.rendering.reverting_as_text import reverting_lines
from bitfit_probe.rendering.words import coverage_sentence, figure, headline, plural, printable, shorten, wrap

__all__ = ["diff_to_text", "report_to_text"]

_CELL = 5
_MOST_NAMES = 4
#: Columns from which a name has room beside three figures.
_ROOMY = 60


def diff_to_text(diff: Diff, *, width: int = 80, top: int = 10) -> str:
    """The diff as text of at most `width` columns, with a line break at its end; `top` tensors listed."""
    return report_to_text(Report(diff), width=width, top=top)


def report_to_text(report: Report, *, width: int = 80, top: int = 10, by: By | None = None) -> str:
    """A report as text of at most `width` columns, with a line break at its end.

    Parameters
    ----------
    report
        What to show.
    width
        Columns to use.
    top
        How many tensors to list.
    by
        Show the ranking of that grouping instead of the table of biases and the list of tensors.
    """
    diff = report.diff
    lines = [*_side("base ", diff.base, width)]
    for number, comparison in enumerate(diff.comparisons):
        measured = report.measured[number] if report.measured else Measured()
        lines += [*_side("tuned", comparison.tuned, width), "", *wrap(headline(comparison), width)]
        lines += [*trained_enough(measured.adequacy, width), ""]
        lines += _sections(comparison, measured, width, top, by)
        lines += reverting_lines(measured.reverting, width)
        lines += spectra_lines(measured, width, top)
        lines += _unmatched(comparison, width)
        lines += _judged(diff, comparison, width)
    lines += likeness_lines(report.likeness, width)
    lines += trajectory_lines(report.trajectory, width)
    return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


def _sections(
    comparison: Comparison, measured: Measured, width: int, top: int, by: By | None
) -> Iterator[str]:
    ranking = next((item for item in measured.rankings if item.by == by), None)
    if ranking is None:
        yield from _heat(comparison.roles, width)
        yield from _top(comparison.tensors, width, top)
        return
    if ranking.paper and by == "role":
        yield from _heat([role for role in comparison.roles if role.layer is not None], width)
    yield from ranking_lines(ranking, width, top)
    if by == "tensor" and not ranking.paper:
        yield from _top([row for row in comparison.tensors if row.info.kind != "bias"], width, top)


def _side(label: str, side: CheckpointInfo, width: int) -> Iterator[str]:
    facts = (
        f"{side.format} · {plural(side.tensors, 'tensor')} · {plural(side.parameters, 'parameter')}"
        f" · {plural(side.biases, 'bias', 'biases')}"
    )
    yield f"{label}  {shorten(printable(side.path), width - 7)}"
    for text in (facts, *map(printable, side.notes)):
        yield from ("       " + line for line in wrap(text, width - 7))


# Roles × layers -----------------------------------------------------------------------------------


def _heat(roles: Sequence[RoleDelta], width: int) -> Iterator[str]:
    """mean|Δb| as a table: rows by their total over layers, the last column their mean."""
    if not any(role.moved for role in roles):
        return
    power = power_of_ten(peak_of(roles))
    unit = f", {units(power)}" if power else ""
    rest = "" if all(role.moved for role in roles) else "  (· did not move)"
    yield from wrap(f"Biases, mean|Δb| by role and layer{unit}{rest}", width, "  ")
    for grid in grids(roles):
        if grid.stack:
            yield grid.stack
        yield from _heat_blocks(grid, power, width)
    beside = outside(roles)
    if beside:
        cells = (f"{_name(role)} {scaled(role, power)}" for role in beside)
        yield from wrap("outside the layers: " + ", ".join(cells), width, " " * 20)
    yield ""


def _name(role: RoleDelta) -> str:
    return f"{role.stack} {role.role}" if role.stack else role.role


def _heat_blocks(grid: Grid, power: int, width: int) -> Iterator[str]:
    label = max(len(name) for name in (*grid.roles, "layer"))
    for block in grid.blocks(max((width - label - _CELL - 1) // _CELL, 1)):
        last = block[-1] == grid.layers[-1]
        header = "".join(f"{layer:>{_CELL}}" for layer in block)
        yield f"{'layer':<{label}}{header}" + (f"{'mean':>{_CELL + 1}}" if last else "")
        for name in grid.roles:
            row = "".join(f"{scaled(grid.cells.get((name, layer)), power):>{_CELL}}" for layer in block)
            yield f"{name:<{label}}{row}" + (f" {in_units(grid.mean(name), power):>{_CELL}}" if last else "")


# Lists --------------------------------------------------------------------------------------------


def _top(rows: Sequence[TensorDelta], width: int, top: int) -> Iterator[str]:
    moved = sorted(
        (row for row in rows if row.moved and row.mean_abs_delta is not None),
        key=lambda row: -(row.mean_abs_delta or 0.0),
    )
    if not moved or top <= 0:
        return
    shown = min(top, len(moved))
    yield f"The {plural(shown, 'tensor')} of {len(moved):,} that moved most"
    count = 3 if width >= _ROOMY else 1
    yield " ".join(f"{title:>9}" for title in ("mean|Δ|", "max|Δ|", "relative")[:count]) + "  tensor"
    for row in moved[:top]:
        figures = " ".join(map(figure, (row.mean_abs_delta, row.max_abs_delta, row.relative_l2)[:count]))
        name = printable(row.name) + (f" [{row.part}]" if row.part else "")
        yield f"{figures}  {shorten(name, width - 10 * count - 1)}"
    yield ""


# What was left out --------------------------------------------------------------------------------

_WHY = {
    "absent": "has no partner",
    "shape": "has another shape",
    "tied": "tied to an embedding",
    "rows": "has more rows",
    "codes": "floats on one side, codes on the other",
}


def _unmatched(comparison: Comparison, width: int) -> Iterator[str]:
    for label, items in (
        ("Only in the base", comparison.unmatched_base),
        ("Only in the tuned", comparison.unmatched_tuned),
    ):
        for why in dict.fromkeys(item.why for item in items):
            yield from wrap(_names(label, why, [item for item in items if item.why == why]), width, "  ")


def _names(label: str, why: str, items: Sequence[Unmatched]) -> str:
    shown = ", ".join(printable(item.name) for item in items[:_MOST_NAMES])
    rest = f" and {len(items) - _MOST_NAMES} more" if len(items) > _MOST_NAMES else ""
    reason = "" if why == "absent" else f", {_WHY[why]}"
    return f"{label} ({len(items)}{reason}): {shown}{rest}"


def _judged(diff: Diff, comparison: Comparison, width: int) -> Iterator[str]:
    counts = comparison.summary.judged_by
    ways = [
        f"{plural(counts[how], 'tensor')} {words}"
        for how, words in (
            ("compared", "compared by their bytes"),
            ("checksum", "taken as equal by checksum"),
            ("not-in-file", "not in the file and so the base's own"),
            ("not-checked", "not checked"),
        )
        if counts.get(how)
    ]
    known = {"config": "config.json", "names": "tensor names", "heuristics": "name heuristics only"}
    source = known[diff.architecture_known_from]
    sentence = f"Judged: {', '.join(ways)}; architecture {diff.architecture} from {source}."
    yield from wrap(sentence, width, "  ")
    yield from wrap(coverage_sentence(comparison.coverage), width, "  ")
    for note in comparison.notes:
        yield from wrap(f"Names: {printable(note)}.", width, "  ")
    yield ""
