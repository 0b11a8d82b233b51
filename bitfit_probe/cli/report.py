"""``bitfit-probe report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from bitfit_probe.cli.options import (
    PATH,
    columns_options,
    data_option,
    format_option,
    out_option,
    quiet_option,
    state_dict_key_option,
)
from bitfit_probe.cli.output import ProgressBar, deliver, one_blas_thread
from bitfit_probe.errors import DataError, ModelError
from bitfit_probe.outputs import refuse_overlap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bitfit_probe.data import Columns, TaskData
    from bitfit_probe.pair import Pair
    from bitfit_probe.records.report import Report

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
    state_dict_key: str | None,
    quiet: bool,
) -> None:
    """Everything about BASE and each TUNED checkpoint on one page.

    The page is one file that fetches nothing and is readable without script: the verdict, what to do,
    findings, where it moved, what moved most, matrices, every tensor, and how all of it was judged.
    """
    if form == "html" and out is None:
        raise click.UsageError("give the page's file with -o report.html")
    inputs = (base, *tuned, *([data] if data else []))
    refuse_overlap(filter(None, (out,)), inputs)
    one_blas_thread()
    from bitfit_probe.pair import Reading
    from bitfit_probe.probe import compared, describe
    from bitfit_probe.rendering import report_to_html, report_to_markdown

    examples = None
    if data is not None:
        from bitfit_probe.data import read_examples

        examples = read_examples(data, columns)
    with (
        ProgressBar("comparing", quiet=quiet) as progress,
        ProgressBar("matrices", quiet=quiet) as spectra_progress,
    ):
        pairs = compared(base, tuned, Reading(state_dict_key, progress=progress), examples)
        result = describe(
            pairs,
            by=("role", "layer", "role-layer"),
            spectra=not no_spectra,
            hashes=True,
            judge=True,
            trajectory=trajectory,
            progress=spectra_progress,
        )
        if examples is not None:
            result = _with_examples(result, pairs, examples, quiet)
    page = report_to_html(result) if form == "html" else report_to_markdown(result)
    deliver(page, out, inputs)


def _with_examples(result: Report, pairs: Sequence[Pair], examples: TaskData, quiet: bool) -> Report:
    """Add which biases matter, how far the task is from what the base knows, and which method it asks for."""
    from bitfit_probe.beforehand import with_recommendation
    from bitfit_probe.importance import with_examples

    with ProgressBar("reverting", quiet=quiet) as progress:
        result = with_examples(result, pairs, examples, progress=progress)
    try:
        with ProgressBar("measuring", quiet=quiet) as bar:
            return with_recommendation(
                result,
                pairs,
                examples,
                progress=lambda stage, done, total: bar(done, total) if stage == "reach" else None,
            )
    except (DataError, ModelError):  # a base without tokenizer, say: the page says that it was not checked
        return result
