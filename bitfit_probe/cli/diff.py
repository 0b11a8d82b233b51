"""``bitfit-probe diff``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from bitfit_probe.cli.endings import tell_failures
from bitfit_probe.cli.options import (
    PATH,
    biases_only_option,
    format_option,
    out_option,
    quiet_option,
    state_dict_key_option,
    trust_checksums_option,
)
from bitfit_probe.cli.output import STAGES, ProgressBars, colours, deliver, one_blas_thread, terminal_width
from bitfit_probe.cli.plot import figures, plot_option
from bitfit_probe.cli.reverting import Examples, data_options
from bitfit_probe.cli.streams import complaint
from bitfit_probe.outputs import refuse_overlap

if TYPE_CHECKING:
    from bitfit_probe.records.measures import By
    from bitfit_probe.records.report import Report

__all__ = ["diff"]


@click.command(no_args_is_help=True)
@click.argument("base", type=PATH)
@click.argument("tuned", type=PATH, nargs=-1, required=True)
@format_option("text", "json", "csv")
@out_option()
@click.option(
    "--by",
    type=click.Choice(["tensor", "role", "layer", "role-layer"]),
    help="Rank the biases by these groups, by every measure.",
)
@click.option("--paper", is_flag=True, help="Rank as the BitFit paper does: its order, inside layers only.")
@click.option("--spectra", is_flag=True, help="Singular values of what changed in matrices; takes minutes.")
@click.option(
    "--adapter",
    type=PATH,
    help="A PEFT adapter: tell how often it was merged (with --spectra).",
)
@click.option("--trajectory", is_flag=True, help="Take the TUNED for steps of one run, in order.")
@click.option(
    "--top", type=click.IntRange(min=0), default=10, show_default=True, help="How many to list (text)."
)
@biases_only_option
@trust_checksums_option
@state_dict_key_option
@plot_option
@quiet_option
@data_options
def diff(
    base: Path,
    tuned: tuple[Path, ...],
    form: Literal["text", "json", "csv"],
    out: Path | None,
    by: By | None,
    top: int,
    plot: Path | None,
    quiet: bool,
    asked: Examples,
    **measured: Any,
) -> int | None:
    """Say what moved between BASE and each TUNED checkpoint.

    BASE and TUNED are weight files (.safetensors, .pt, .pth, .bin, .ckpt), indexes of sharded ones, model
    directories, models on the Hugging Face Hub (org/name or org/name@revision), URLs of files, or buckets
    (s3://…); what exists here wins. Nothing that a pickle names is ever run. Where one of several TUNED can't
    be read, the others are compared, and the exit status is 2.
    """
    if measured["adapter"] is not None and not measured["spectra"]:
        raise click.UsageError("--adapter needs --spectra")
    if measured["trajectory"] and len(tuned) < 2:
        raise click.UsageError("--trajectory takes several TUNED")
    by = "role" if measured["paper"] and by is None else by
    inputs = (base, *tuned, *filter(None, (measured["adapter"], asked.data, asked.model_dir)))
    refuse_overlap(filter(None, (out, plot)), inputs)
    one_blas_thread()
    from bitfit_probe.api.report import report as run
    from bitfit_probe.records.options import ReportOptions

    options = ReportOptions(
        by=() if by is None else (by,),
        hashes=False,
        check=False,
        revert=asked.options(),
        recommend=False,
        **measured,
    )
    with ProgressBars(STAGES, quiet=quiet) as progress:
        report = run(
            base, *tuned, data=asked.data, columns=asked.columns(), options=options, progress=progress
        )
    if options.spectra and not any(item.spectra or item.no_spectrum for item in report.measured):
        complaint("no matrix moved: there are no singular values to take")
    shown = _shown(report, form, by, top, colour=out is None and colours())
    deliver(shown, out, inputs, figures(plot, report))
    return tell_failures(report.diff.failures)


def _shown(report: Report, form: str, by: By | None, top: int, *, colour: bool) -> str:
    from bitfit_probe import rendering

    if form == "json":
        return rendering.report_to_json(report)
    if form == "csv":
        return rendering.diff_to_csv(report.diff)
    text = rendering.report_to_text(report, width=terminal_width(), top=top, by=by)
    for comparison in report.diff.comparisons if colour else ():
        verdict = rendering.headline(comparison).partition(":")[0]
        text = text.replace(f"{verdict}:", click.style(f"{verdict}:", bold=True), 1)
    return text
