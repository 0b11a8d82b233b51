"""``bitfit-probe distance``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from bitfit_probe.cli.options import PATH, measuring_options, task_options
from bitfit_probe.cli.output import ProgressBars, deliver, terminal_width
from bitfit_probe.outputs import refuse_overlap

if TYPE_CHECKING:
    from bitfit_probe.data import Columns

__all__ = ["distance"]


@click.command(no_args_is_help=True)
@click.argument("model", type=PATH)
@task_options
@click.option(
    "--tuned",
    type=PATH,
    help="A checkpoint tuned from MODEL: how much of its change biases could have done.",
)
@click.option("--no-reach", is_flag=True, help="Leave the forecasts out.")
@measuring_options
def distance(
    model: Path,
    data: Path,
    columns: Columns,
    reference: Path | Literal[False] | None,
    tuned: Path | None,
    no_reach: bool,
    examples: int,
    seed: int,
    form: Literal["text", "json"],
    out: Path | None,
    quiet: bool,
) -> None:
    """Say how far a task lies from what MODEL knows, and what training could reach.

    MODEL is a model directory with its tokenizer. Nothing is trained.
    """
    inputs = (model, data, *filter(None, (tuned, reference or None)))
    refuse_overlap(filter(None, (out,)), inputs)
    from bitfit_probe.api.task import distance as run
    from bitfit_probe.records.options import DistanceOptions
    from bitfit_probe.rendering import distance_to_text
    from bitfit_probe.rendering.distance_json import distance_to_json

    options = DistanceOptions(reference, not no_reach, examples, seed)
    with ProgressBars({"reach": "measuring"}, quiet=quiet) as progress:
        result = run(model, data, columns=columns, tuned=tuned, options=options, progress=progress)
    shown = distance_to_json(result) if form == "json" else distance_to_text(result, terminal_width())
    deliver(shown, out, inputs)
