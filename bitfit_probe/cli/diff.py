"""``bitfit-probe diff``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from bitfit_probe.cli.options import PATH, format_option, out_option, quiet_option, state_dict_key_option
from bitfit_probe.cli.output import ProgressBar, colours, deliver, one_blas_thread, terminal_width
from bitfit_probe.cli.plot import figures, plot_option
from bitfit_probe.cli.reverting import Examples, data_options
from bitfit_probe.outputs import refuse_overlap

if TYPE_CHECKING:
    from bitfit_probe.records.measures import By

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
@click.option("--biases-only", is_flag=True, help="Read biases only; say that the rest was not checked.")
@click.option(
    "--trust-checksums",
    is_flag=True,
    help="Take equal CRC-32 in two .pt archives for equal bytes, without reading them.",
)
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
    paper: bool,
    spectra: bool,
    adapter: Path | None,
    trajectory: bool,
    top: int,
    biases_only: bool,
    trust_checksums: bool,
    state_dict_key: str | None,
    plot: Path | None,
    quiet: bool,
    asked: Examples,
) -> None:
    """Say what moved between BASE and each TUNED checkpoint.

    BASE and TUNED are weight files (.safetensors, .pt, .pth, .bin, .ckpt), indexes of sharded ones, model
    directories, models on the Hugging Face Hub (org/name or org/name@revision), or URLs of files; what
    exists here wins. Nothing that a pickle names is ever run.
    """
    if adapter is not None and not spectra:
        raise click.UsageError("--adapter needs --spectra")
    if trajectory and len(tuned) < 2:
        raise click.UsageError("--trajectory takes several TUNED")
    by = "role" if paper and by is None else by
    inputs = (base, *tuned, *filter(None, (adapter, asked.data, asked.model_dir)))
    refuse_overlap(filter(None, (out, plot)), inputs)
    one_blas_thread()
    from bitfit_probe.pair import Reading
    from bitfit_probe.probe import compared, describe
    from bitfit_probe.rendering import diff_to_csv, headline, report_to_json, report_to_text

    with (
        ProgressBar("comparing", quiet=quiet) as progress,
        ProgressBar("singular values", quiet=quiet) as spectra_progress,
    ):
        pairs = compared(base, tuned, Reading(state_dict_key, biases_only, trust_checksums, progress))
        report = describe(
            pairs,
            by=() if by is None else (by,),
            paper=paper,
            spectra=spectra,
            adapter=adapter,
            trajectory=trajectory,
            progress=spectra_progress,
        )
    if spectra and not any(item.spectra or item.no_spectrum for item in report.measured):
        click.echo("no matrix moved: there are no singular values to take", err=True)
    report = asked.measured(report, pairs, quiet=quiet)
    if form == "json":
        text = report_to_json(report)
    elif form == "csv":
        text = diff_to_csv(report.diff)
    else:
        text = report_to_text(report, width=terminal_width(), top=top, by=by)
        if out is None and colours():
            for comparison in report.diff.comparisons:
                verdict = headline(comparison).partition(":")[0]
                text = text.replace(f"{verdict}:", click.style(f"{verdict}:", bold=True), 1)
    deliver(text, out, inputs, figures(plot, report))
