"""Records as tables of finished text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bitfit_probe.records import Check, Comparison, Evidence, TensorDelta, Unmatched
from bitfit_probe.records.measures import Group, Likeness, Ranking, Reverting, Spectrum, Trajectory
from bitfit_probe.records.recommendation import METHODS, Recommendation, Trial
from bitfit_probe.records.report import Report
from bitfit_probe.rendering.content import Column, Table, figure
from bitfit_probe.rendering.grids import Grid, scaled
from bitfit_probe.rendering.recommend_words import (
    STORED_TASKS,
    cost_cells,
    expected_cells,
    methods,
    trial_cells,
)
from bitfit_probe.rendering.words import percent, printable

__all__ = [
    "evidence_table",
    "files_table",
    "grid_table",
    "interval",
    "likeness_table",
    "methods_table",
    "not_checked_table",
    "ranking_table",
    "side_by_side",
    "spectra_table",
    "tensors_table",
    "trajectory_table",
    "trial_table",
    "unmatched_table",
]

#: Rows of one table that are written into a page; a browser sorts and filters that many at once.
MOST_ROWS = 300
_RANKS = (1, 8, 64)


#: First columns of short labels; all others hold names from files.
_LABELS = ("method", "role", "layer", "role-layer", "measure", "rule")


def _columns(*titles: str, first: str = "", words: Iterable[str] = ()) -> tuple[Column, ...]:
    wordy = set(words)
    rest = (Column(title, "words" if title in wordy else "number") for title in titles)
    return (Column(first, "words" if first in _LABELS else "name"), *rest)


def _table(key: str, caption: str, columns: tuple[Column, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    return Table(key, caption, columns, tuple(rows[:MOST_ROWS]), max(len(rows) - MOST_ROWS, 0))


def interval(bounds: tuple[float, float] | None, form: str = ".3g") -> str:
    """``[low, high]``; empty where there is no interval."""
    return "" if bounds is None else f"[{bounds[0]:{form}}, {bounds[1]:{form}}]"


def side_by_side(report: Report) -> Table:
    """One row a tuned checkpoint."""
    rows = []
    for comparison in report.diff.comparisons:
        summary = comparison.summary
        peaks = (row.max_abs_delta for row in comparison.tensors if row.info.kind != "head")
        rows.append(
            (
                printable(comparison.tuned.path),
                comparison.verdict,
                percent(comparison.coverage.share or 0.0),
                f"{summary.changed_biases:,} of {summary.biases:,}",
                f"{summary.changed_tensors:,} of {summary.compared_tensors:,}",
                figure(summary.relative_l2),
                figure(max((peak for peak in peaks if peak is not None), default=None)),
                summary.head,
                figure(len(summary.offenders)),
                _finding_count(report, comparison),
            )
        )
    titles = (
        "verdict",
        "compared",
        "biases moved",
        "tensors moved",
        "relative change",
        "max|Δ|",
        "head",
        "offenders",
        "findings",
    )
    return _table(
        "side-by-side",
        "The tuned checkpoints side by side",
        _columns(*titles, first="tuned", words=("verdict", "head")),
        rows,
    )


def _finding_count(report: Report, comparison: Comparison) -> str:
    if report.check is None:
        return "–"
    return figure(sum(found.tuned in ("", comparison.tuned.path) for found in report.check.findings))


def grid_table(key: str, grid: Grid, power: int, unit: str) -> Table:
    """Roles × layers as numbers."""
    rows = []
    for role in grid.roles:
        mean = grid.mean(role)
        cells = [scaled(grid.cells.get((role, layer)), power) for layer in grid.layers]
        rows.append((role, *cells, "–" if mean is None else f"{mean / 10.0**power:.2f}"))
    caption = f"{grid.stack or 'All'} layers: mean|Δ| by role and layer{', ' if unit else ''}{unit}"
    titles = [*(f"{layer}" for layer in grid.layers), "mean"]
    return _table(key, caption[0].upper() + caption[1:], _columns(*titles, first="role"), rows)


def group_name(group: Group) -> str:
    """A group's label; a single tensor's name."""
    if group.role is None and group.layer is None and len(group.names) == 1:
        return printable(group.names[0])
    return printable(group.label)


def ranking_table(key: str, ranking: Ranking, reverting: Reverting | None) -> Table:
    """Every measure of every group, with what reverting it did."""
    reverted = {} if reverting is None else {revert.group.names: revert for revert in reverting.rows}
    titles = ["mean|Δb|", "relative", "BEFT", "Fisher", "cosine", "mean shift"]
    if reverted:
        titles += ["loss when reverted", "interval", "accuracy", "reverting"]
    rows = []
    for row in ranking.rows:
        marks = [
            word
            for word, holds in (
                ("no effect", row.group.no_effect),
                ("noise", row.noise_floor),
                ("tie", row.tied),
            )
            if holds
        ]
        cells = [
            figure(value)
            for value in (
                row.mean_abs_delta,
                row.relative_l2,
                row.beft,
                row.fisher,
                row.cosine,
                row.mean_shift,
            )
        ]
        if reverted:
            revert = reverted.get(row.group.names)
            cells += (
                ["–"] * 4
                if revert is None
                else [
                    f"{revert.loss_change:+.3g}",
                    interval(revert.loss_interval, "+.2g"),
                    figure(revert.accuracy_change, "+.2%"),
                    "free" if revert.free else "costs" if revert.loss_interval[0] > 0 else "undecided",
                ]
            )
        rows.append((group_name(row.group), *cells, ", ".join(marks)))
    columns = _columns(*titles, "marks", first=ranking.by, words=("marks", "reverting", "interval"))
    return _table(key, f"Biases by {ranking.by}, those that moved most first", columns, rows)


def likeness_table(key: str, likeness: Likeness) -> Table:
    """Cosines between bias changes."""
    rows = [
        (f"{number + 1}  {printable(name)}", *(figure(value, ".3f") for value in values))
        for number, (name, values) in enumerate(zip(likeness.names, likeness.cosine, strict=True))
    ]
    titles = [str(number + 1) for number in range(len(likeness.names))]
    return _table(
        key,
        f"Cosine between bias changes, {likeness.role or 'all roles'}",
        _columns(*titles, first="tuned"),
        rows,
    )


def trajectory_table(trajectory: Trajectory) -> Table:
    """‖Δb‖₂ by role and step."""
    rows = [
        (role, *(figure(norm) for norm in norms), figure(stop))
        for role, norms, stop in zip(trajectory.roles, trajectory.norms, trajectory.stopped_at, strict=True)
    ]
    titles = [*(f"step {step:,}" for step in trajectory.steps), "stopped at"]
    return _table("trajectory", "‖Δb‖₂ from the base by role and step", _columns(*titles, first="role"), rows)


def spectra_table(key: str, spectra: Sequence[Spectrum]) -> Table:
    """Ranks and norms of what matrices changed by."""
    merged = any(spectrum.merge_strength is not None for spectrum in spectra)
    titles = ["shape", "effective rank", "stable rank", *(f"energy at {rank}" for rank in _RANKS)]
    titles += ["σ₁ of Δ", "σ₁ of base", "top 1 % rows"] + ["merged α*"] * merged
    rows = []
    for spectrum in spectra:
        energy = dict(spectrum.energy)
        cells = [
            "×".join(map(str, spectrum.shape)),
            figure(spectrum.effective_rank),
            figure(spectrum.stable_rank),
            *(figure(energy.get(rank), ".1%") for rank in _RANKS),
            figure(spectrum.spectral_norm),
            figure(spectrum.base_spectral_norm),
            figure(spectrum.top_row_share, ".1%"),
        ]
        cells += [figure(spectrum.merge_strength)] * merged
        rows.append((printable(spectrum.name), *cells))
    return _table(key, "Matrices that moved", _columns(*titles, first="matrix"), rows)


def tensors_table(key: str, comparison: Comparison) -> Table:
    """Every tensor, those that moved most first."""
    titles = ("role", "layer", "kind", "shape", "moved", "mean|Δ|", "max|Δ|", "relative", "cosine", "changed")
    rows = sorted(comparison.tensors, key=lambda row: (not row.moved, -(row.mean_abs_delta or 0.0)))
    return _table(
        key,
        "Every tensor, those that moved most first",
        _columns(*titles, first="tensor", words=("role", "kind", "moved", "shape")),
        [_tensor(row) for row in rows],
    )


def _tensor(row: TensorDelta) -> tuple[str, ...]:
    name = printable(row.name) + (f" [{row.part}]" if row.part else "")
    moved = {None: "not checked", True: "yes", False: "no"}[row.moved]
    if row.moved is False and row.identical is False:
        moved = "rounding only"
    stack = f"{row.info.stack} " if row.info.stack else ""
    return (
        name,
        stack + (row.info.role or "–"),
        figure(row.info.layer),
        row.info.kind,
        "×".join(map(str, row.shape)) or "scalar",
        moved,
        figure(row.mean_abs_delta),
        figure(row.max_abs_delta),
        figure(row.relative_l2),
        figure(row.cosine, ".4f"),
        figure(row.changed_fraction, ".1%"),
    )


def evidence_table(key: str, caption: str, evidence: Sequence[Evidence]) -> Table:
    """Numbers with their intervals, readings and sources."""
    titles = ("value", "unit", "interval", "about", "reading", "source")
    rows = [
        (
            printable(item.measure),
            figure(printable(item.value) if isinstance(item.value, str) else item.value),
            item.unit,
            interval(item.interval),
            printable(item.about or ""),
            printable(item.reading or ""),
            printable(item.source or ""),
        )
        for item in evidence
    ]
    # columns that nothing fills say nothing
    filled = [at for at in range(7) if at < 2 or any(row[at] for row in rows)]
    columns = _columns(*titles, first="measure", words=titles[1:])
    kept = [tuple(row[at] for at in filled) for row in rows]
    return _table(key, caption, tuple(columns[at] for at in filled), kept)


def methods_table(found: Recommendation) -> Table:
    """What is expected of each method, and what it costs."""
    kept = ("a task", f"{STORED_TASKS} tasks")
    titles = ("points below", "80 % interval", "basis", "trained", "share", "optimizer", *kept)
    rows = [
        (METHODS.get(name, name), *expected_cells(expected), *cost_cells(cost, found.costs))
        for name, expected, cost in methods(found)
    ]
    columns = _columns(*titles, first="method", words=("basis",))
    return _table("methods", "What to expect of each method, and what it costs", columns, rows)


def trial_table(trial: Trial) -> Table:
    """What short runs came to, at each method's best rate."""
    rows = [(METHODS.get(name, name), *cells) for name, *cells in trial_cells(trial)]
    titles = ("rate", "score", "80 % interval", "points below", "its 80 % interval", "with all data")
    columns = _columns(*titles, first="method", words=("rate",))
    return _table("trial", "Short runs, each method at its best rate", columns, rows)


def unmatched_table(key: str, comparison: Comparison) -> Table:
    """Tensors that only one side has."""
    rows = [
        *(_unmatched(item, "base") for item in comparison.unmatched_base),
        *(_unmatched(item, "tuned") for item in comparison.unmatched_tuned),
    ]
    columns = _columns("only in", "shape", "why", first="tensor", words=("only in", "shape", "why"))
    return _table(key, "Tensors without a partner", columns, rows)


def _unmatched(item: Unmatched, side: str) -> tuple[str, ...]:
    return printable(item.name), side, "×".join(map(str, item.shape)) or "scalar", item.why


def not_checked_table(check: Check) -> Table:
    """Rules that could not look, and why; each reason once."""
    rows = dict.fromkeys((item.code, printable(item.why)) for item in check.not_checked)
    return _table(
        "not-checked", "What was not checked", _columns("why", first="rule", words=("why",)), list(rows)
    )


def files_table(report: Report) -> Table:
    """Which bytes were looked at."""
    rows = [(printable(path), digest or "–") for path, digest in report.files]
    return _table(
        "files", "Files and their sha256", _columns("sha256", first="file", words=("sha256",)), rows
    )
