"""``bitfit-probe recommend``."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from bitfit_probe.cli.options import PATH, measuring_options, task_options
from bitfit_probe.cli.output import ProgressBars, deliver, terminal_width
from bitfit_probe.outputs import refuse_overlap

if TYPE_CHECKING:
    from bitfit_probe.data import Columns

__all__ = ["recommend"]


@click.command(no_args_is_help=True)
@click.argument("model", type=PATH)
@task_options
@click.option(
    "--tuned",
    type=PATH,
    multiple=True,
    help="A checkpoint tuned from MODEL that disappoints, or several: what went wrong with it comes first.",
)
@click.option(
    "--trial",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MINUTES",
    help="Settle it by short runs of BitFit, LoRA and full fine-tuning on the examples.",
)
@click.option(
    "--work-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the trial's runs in this directory, to go on with where it was interrupted.",
)
@click.option(
    "--margin",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    help="Points that a cheaper method may lose.",
)
@measuring_options
def recommend(
    model: Path,
    data: Path,
    columns: Columns,
    tuned: tuple[Path, ...],
    trial: float | None,
    work_dir: Path | None,
    margin: float,
    reference: Path | Literal[False] | None,
    examples: int,
    seed: int,
    form: Literal["text", "json"],
    out: Path | None,
    quiet: bool,
) -> None:
    """Say whether BitFit, LoRA or full fine-tuning is the cheapest method that will do for a task.

    MODEL is a model directory with its tokenizer. Without --trial nothing is trained. The answer may be
    that it is undecided; what speaks for and against it, and what would change it, is printed with it.
    """
    if work_dir is not None and trial is None:
        raise click.UsageError("--work-dir needs --trial")
    inputs = (model, data, *tuned, *([reference] if reference else []))
    refuse_overlap(filter(None, (out, work_dir and work_dir / "trial.jsonl")), inputs)
    from bitfit_probe.api.task import recommend as run
    from bitfit_probe.records.options import RecommendOptions
    from bitfit_probe.rendering import recommended_to_text
    from bitfit_probe.rendering.recommend_json import recommended_to_json

    options = RecommendOptions(reference, examples, seed, trial, work_dir, margin)
    with (
        ProgressBars({"reach": "measuring", "trial": "trying"}, quiet=quiet) as progress,
        contextlib.redirect_stdout(sys.stderr),  # what libraries underneath have to say is no result
    ):
        result = run(model, data, columns=columns, tuned=tuned, options=options, progress=progress)
    shown = recommended_to_json(result) if form == "json" else recommended_to_text(result, terminal_width())
    deliver(shown, out, inputs)
