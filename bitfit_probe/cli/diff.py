"""``bitfit-probe diff``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from bitfit_probe.cli.output import ProgressBar, colours, deliver, one_blas_thread, terminal_width
from bitfit_probe.cli.plot import plot_option, write_plot

__all__ = ["diff"]


@click.command(no_args_is_help=True)
@click.argument("base", type=click.Path(path_type=Path))
@click.argument("tuned", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "csv"]),
    default="text",
    show_default=True,
    help="How to print it.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Write to this file instead of stdout.")
@click.option(
    "--by",
    type=click.Choice(["tensor", "role", "layer"]),
    help="Show only the list by tensor, role or layer (text).",
)
@click.option(
    "--top", type=click.IntRange(min=0), default=10, show_default=True, help="How many to list (text)."
)
@click.option("--biases-only", is_flag=True, help="Read biases only; say that the rest was not checked.")
@click.option(
    "--trust-checksums",
    is_flag=True,
    help="Take equal CRC-32 in two .pt archives for equal bytes, without reading them.",
)
@click.option("--key", help="Which state dict to take where a file holds several (model, ema, …).")
@plot_option
@click.option("--quiet", is_flag=True, help="No progress bar.")
def diff(
    base: Path,
    tuned: tuple[Path, ...],
    form: Literal["text", "json", "csv"],
    out: Path | None,
    by: Literal["tensor", "role", "layer"] | None,
    top: int,
    biases_only: bool,
    trust_checksums: bool,
    key: str | None,
    plot: Path | None,
    quiet: bool,
) -> None:
    """Say what moved between BASE and each TUNED checkpoint.

    BASE and TUNED are weight files (.safetensors, .pt, .pth, .bin, .ckpt), indexes of sharded ones, or
    model directories. Nothing that a pickle names is ever run.
    """
    one_blas_thread()
    from bitfit_probe.probe import diff as run
    from bitfit_probe.report import diff_to_csv, diff_to_json, diff_to_text, headline

    with ProgressBar("comparing", quiet=quiet) as progress:
        result = run(
            base,
            *tuned,
            key=key,
            biases_only=biases_only,
            trust_checksums=trust_checksums,
            progress=progress,
        )
    if form == "json":
        text = diff_to_json(result)
    elif form == "csv":
        text = diff_to_csv(result)
    else:
        text = diff_to_text(result, width=terminal_width(), top=top, by=by)
        if out is None and colours():
            for comparison in result.comparisons:
                verdict = headline(comparison).partition(":")[0]
                text = text.replace(f"{verdict}:", click.style(f"{verdict}:", bold=True), 1)
    write_plot(plot, result, (base, *tuned))
    deliver(text, out, (base, *tuned))
