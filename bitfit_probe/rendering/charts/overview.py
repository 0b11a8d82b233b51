"""All that one figure can hold of a report: what `--plot` writes."""

from __future__ import annotations

from bitfit_probe.records.report import Report
from bitfit_probe.rendering.charts.bars import ranking_bars
from bitfit_probe.rendering.charts.canvas import Panel, label
from bitfit_probe.rendering.charts.heat import heat_map
from bitfit_probe.rendering.charts.likeness import likeness_matrix
from bitfit_probe.rendering.charts.lines import spectra_lines, trajectory_lines
from bitfit_probe.rendering.heatmap import bias_roles_or_matrices, peak_of

__all__ = ["overview"]


def overview(report: Report) -> tuple[Panel, ...]:
    """One heat map for one tuned checkpoint; for several, theirs on one scale, then what compares them.

    What was measured besides (rankings, spectra) follows, where it was asked for.
    """
    comparisons = report.diff.comparisons
    cells = [
        role
        for comparison in comparisons
        for role in bias_roles_or_matrices(comparison)
        if role.layer is not None
    ]
    peak = peak_of(cells) or None
    panels: list[Panel | None] = []
    for number, comparison in enumerate(comparisons):
        name = label(comparison.tuned.path, 60)
        panels.append(heat_map(comparison, title=name, peak=peak if len(comparisons) > 1 else None))
        if number < len(report.measured):
            measured = report.measured[number]
            panels += [ranking_bars(ranking, measured.reverting) for ranking in measured.rankings]
            panels.append(spectra_lines(measured.spectra))
    whole = [likeness for likeness in report.likeness if likeness.role is None]
    panels += [likeness_matrix(likeness, title="Which move alike") for likeness in whole]
    if report.trajectory is not None:
        panels.append(trajectory_lines(report.trajectory, title="Over the run"))
    return tuple(panel for panel in panels if panel is not None)
