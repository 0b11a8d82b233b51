"""Figures of a result, by seaborn: the only place where matplotlib and seaborn are imported.

A chart is a `Panel` of known size; `figure` puts panels below each other, `to_svg` and `to_png` write them.
Nothing in a figure is told by colour alone, and the same result gives the same bytes.
"""

from bitfit_probe.rendering.charts.bars import ranking_bars
from bitfit_probe.rendering.charts.canvas import Panel
from bitfit_probe.rendering.charts.files import to_inline_svg, to_png, to_svg
from bitfit_probe.rendering.charts.gaps import gaps
from bitfit_probe.rendering.charts.heat import heat_map
from bitfit_probe.rendering.charts.likeness import likeness_matrix
from bitfit_probe.rendering.charts.lines import spectra_lines, trajectory_lines
from bitfit_probe.rendering.charts.overview import overview

__all__ = [
    "Panel",
    "gaps",
    "heat_map",
    "likeness_matrix",
    "overview",
    "ranking_bars",
    "spectra_lines",
    "to_inline_svg",
    "to_png",
    "to_svg",
    "trajectory_lines",
]
