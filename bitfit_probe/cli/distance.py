"""``bitfit-probe distance``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from bitfit_probe.cli.options import PATH, measuring_options, task_options
from bitfit_probe.cli.output import ProgressBar, deliver, terminal_width
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
    from bitfit_probe.beforehand import distance as run
    from bitfit_probe.rendering import distance_to_text
    from bitfit_probe.rendering.distance_json import distance_to_json

    with ProgressBar("measuring", quiet=quiet) as progress:
        result = run(
            model,
            data,
            columns=columns,
            reference=reference,
            tuned=tuned,
            reach=not no_reach,
            examples=examples,
            seed=seed,
            progress=lambda stage, done, total: progress(done, total) if stage == "reach" else None,
        )
    shown = distance_to_json(result) if form == "json" else distance_to_text(result, terminal_width())
    deliver(shown, out, inputs)
