"""``bitfit-probe report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from bitfit_probe.cli.endings import tell_failures
from bitfit_probe.cli.options import (
    PATH,
    columns_options,
    data_option,
    format_option,
    out_option,
    quiet_option,
    state_dict_key_option,
)
from bitfit_probe.cli.output import STAGES, ProgressBars, deliver, one_blas_thread
from bitfit_probe.cli.streams import complaint
from bitfit_probe.outputs import refuse_overlap

if TYPE_CHECKING:
    from bitfit_probe.data import Columns

__all__ = ["report"]


@click.command(no_args_is_help=True)
@click.argument("base", type=PATH)
@click.argument("tuned", type=PATH, nargs=-1, required=True)
@format_option("html", "md", help="A page for people, or Markdown for pull requests and model cards.")
@out_option(
    "Write to this file. A page always goes to a file; Markdown goes to stdout without it.", folder=False
)
@data_option
@columns_options
@click.option("--no-spectra", is_flag=True, help="Skip the singular values of the matrices that moved.")
@click.option("--trajectory", is_flag=True, help="The tuned checkpoints are steps of one run.")
@click.option("--date", help="What to date the page; the day of the newest weight file where not given.")
@state_dict_key_option
@quiet_option
def report(
    base: Path,
    tuned: tuple[Path, ...],
    form: Literal["html", "md"],
    out: Path | None,
    data: Path | None,
    columns: Columns,
    no_spectra: bool,
    trajectory: bool,
    date: str | None,
    state_dict_key: str | None,
    quiet: bool,
) -> int | None:
    """Everything about BASE and each TUNED checkpoint on one page.

    The page is one file that fetches nothing and is readable without script: the decision and its reason, how
    good it is, findings, what to do next, which method, where it moved, every tensor, and how all of it was
    judged. Where one of several TUNED can't be read, the page is about the others and says so; the exit
    status is 2.
    """
    if form == "html" and out is None:
        raise click.UsageError("give the page's file with -o report.html")
    inputs = (base, *tuned, *([data] if data else []))
    refuse_overlap(filter(None, (out,)), inputs)
    one_blas_thread()
    from bitfit_probe.api.report import report as run
    from bitfit_probe.records.options import ReportOptions
    from bitfit_probe.rendering import decision_to_text, report_to_html, report_to_markdown
    from bitfit_probe.rendering.words import in_bytes

    options = ReportOptions(state_dict_key, spectra=not no_spectra, trajectory=trajectory, date=date)
    with ProgressBars(STAGES, quiet=quiet) as progress:
        result = run(base, *tuned, data=data, columns=columns, options=options, progress=progress)
    page = report_to_html(result) if form == "html" else report_to_markdown(result)
    deliver(page, out, inputs)
    if out is not None and not quiet:
        told = decision_to_text(result)
        complaint(f"Wrote {out} ({in_bytes(len(page.encode()))}). {told}")
    return tell_failures(result.diff.failures)
