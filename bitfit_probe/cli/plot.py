"""``--plot F``: the figures of a result as a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bitfit_probe.errors import OutputError

if TYPE_CHECKING:
    from bitfit_probe.records.report import Report

__all__ = ["figures", "plot_option"]

_ENDINGS = (".png", ".svg")


def _ending(_: click.Context, __: click.Parameter, value: Path | None) -> Path | None:
    if value is not None and value.suffix.lower() not in _ENDINGS:
        raise click.BadParameter(f"{value.name!r} must end in .svg or .png")
    return value


def plot_option(command: Any) -> Any:
    """Add ``--plot`` to a command."""
    return click.option(
        "--plot",
        type=click.Path(path_type=Path, dir_okay=False),
        callback=_ending,
        help="Also draw roles × layers, and whatever else was measured, into this .svg or .png file.",
    )(command)


def figures(plot: Path | None, report: Report) -> list[tuple[Path, bytes]]:
    """What is to be written where: what there is to draw, if ``--plot`` was given.

    Raises
    ------
    MissingExtraError
        seaborn is not installed.
    OutputError
        Nothing moved, so there is nothing to draw.
    """
    if plot is None:
        return []
    from bitfit_probe.rendering.charts import overview, to_png, to_svg

    panels = overview(report)
    if not panels:
        raise OutputError("nothing to draw, since nothing moved", advice="leave --plot out", path=plot)
    return [(plot, to_png(*panels) if plot.suffix.lower() == ".png" else to_svg(*panels))]
