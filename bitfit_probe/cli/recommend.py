"""``bitfit-probe recommend``."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from bitfit_probe.cli.endings import tell_failures
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
    help="Settle it by short runs on the examples; full fine-tuning is among them below a price of 0.5.",
)
@click.option(
    "--work-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the trial's runs in this directory, to go on with where it was interrupted.",
)
@click.option(
    "--price",
    type=click.FloatRange(min=0),
    default=0.5,
    show_default=True,
    help="Points that a tenfold saving of stored parameters is worth.",
)
@click.option(
    "--margin",
    type=click.FloatRange(min=0),
    help="The price said otherwise: points that BitFit may lose against LoRA.",
)
@measuring_options
def recommend(
    model: Path,
    data: Path,
    columns: Columns,
    tuned: tuple[Path, ...],
    trial: float | None,
    work_dir: Path | None,
    price: float,
    margin: float | None,
    reference: Path | Literal[False] | None,
    examples: int,
    seed: int,
    form: Literal["text", "json"],
    out: Path | None,
    quiet: bool,
) -> int | None:
    """Say which of BitFit, LoRA and full fine-tuning to take for a task, given what parameters cost you.

    MODEL is a model directory with its tokenizer. Without --trial nothing is trained. What speaks for and
    against the answer, and what would change it, is printed with it.
    """
    if work_dir is not None and trial is None:
        raise click.UsageError("--work-dir needs --trial")
    inputs = (model, data, *tuned, *([reference] if reference else []))
    refuse_overlap(filter(None, (out, work_dir and work_dir / "trial.jsonl")), inputs)
    from bitfit_probe.api.task import recommend as run
    from bitfit_probe.records.options import RecommendOptions
    from bitfit_probe.rendering import recommended_to_text
    from bitfit_probe.rendering.recommend_json import recommended_to_json

    options = RecommendOptions(reference, examples, seed, trial, work_dir, price, margin)
    with (
        ProgressBars({"reach": "measuring", "trial": "trying"}, quiet=quiet) as progress,
        contextlib.redirect_stdout(sys.stderr),  # what libraries underneath have to say is no result
    ):
        result = run(model, data, columns=columns, tuned=tuned, options=options, progress=progress)
    shown = recommended_to_json(result) if form == "json" else recommended_to_text(result, terminal_width())
    deliver(shown, out, inputs)
    return tell_failures(result.check.failures if result.check else ())
