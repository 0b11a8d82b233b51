"""``bitfit-probe tune``."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bitfit_probe.cli.options import PATH, columns_options, out_option, quiet_option, seed_option
from bitfit_probe.cli.output import ProgressBar
from bitfit_probe.cli.streams import say

if TYPE_CHECKING:
    from bitfit_probe.data import Columns

__all__ = ["tune"]


def _roles(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(role.strip() for role in value.split(",") if role.strip()) if value else ()


@click.command(no_args_is_help=True)
@click.argument("model", type=PATH)
@click.option("--data", type=PATH, required=True, help="Examples: CSV, TSV, JSONL or Parquet.")
@out_option("Directory to make; it must not exist yet.", required=True)
@click.option(
    "--method", type=click.Choice(["bitfit", "lora", "full", "head"]), default="bitfit", show_default=True
)
@columns_options
@click.option(
    "--objective",
    type=click.Choice(["classify", "regress", "masked-lm", "causal-lm"]),
    help="What to train for; by the labels where not given, without labels as a language model.",
)
@click.option(
    "--roles", callback=_roles, help="Train only biases (LoRA: matrices) of these roles, such as q,m2."
)
@click.option("--norms", is_flag=True, help="With bitfit: train the scales of norms as well.")
@click.option("--learning-rate", type=float, help="Peak rate; without it the method's own.")
@click.option("--search", is_flag=True, help="Try several learning rates briefly first.")
@click.option("--epochs", type=click.IntRange(1), help="8 where not given, on few examples more.")
@click.option("--batch-size", type=click.IntRange(1), default=32, show_default=True, help="Examples a step.")
@click.option("--max-length", type=click.IntRange(1), default=128, show_default=True, help="Tokens a text.")
@click.option(
    "--warmup-ratio",
    type=float,
    default=0.06,
    show_default=True,
    help="Share of steps in which the rate rises.",
)
@click.option("--class-weights", is_flag=True, help="Let every class count the same, however rare.")
@click.option(
    "--eval-split",
    type=float,
    default=0.1,
    show_default=True,
    help="Share of examples that are held out to judge each epoch.",
)
@click.option(
    "--patience",
    type=click.IntRange(0),
    help="Epochs without a lower held-out loss to stop after; keep the best.",
)
@click.option("--lora-r", type=click.IntRange(1), default=8, show_default=True, help="LoRA's r.")
@click.option("--lora-alpha", type=click.IntRange(1), help="LoRA's alpha; 2r where not given.")
@click.option("--merge", is_flag=True, help="With lora: write the merged model instead of the adapter.")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    default="float32",
    show_default=True,
    help="Element type of what rests; what is trained is float32.",
)
@seed_option
@click.option("--cpu", is_flag=True, help="Leave a GPU alone.")
@click.option(
    "--stop-on",
    multiple=True,
    type=click.Choice(
        ["frozen-bias", "still-bias", "moving-matrix", "tampered", "learning-rate-too-low", "blow-up"]
    ),
    help="End the training where this is seen; without it the run card says so. NaN always ends it.",
)
@click.option(
    "--log-to", multiple=True, help="Also log to this (tensorboard, wandb, …), as transformers does."
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted run into the same directory.")
@quiet_option
def tune(
    model: Path,
    data: Path,
    out: Path,
    columns: Columns,
    quiet: bool,
    **asked: Any,
) -> None:
    """Fine-tune MODEL on examples: its biases only (BitFit), by LoRA, all of it, or a head alone.

    MODEL is a directory in the Hugging Face layout with its tokenizer. The directory that is made holds the
    model (with LoRA the adapter), the tokenizer, trainer_state.json and run_card.json.
    """
    from bitfit_probe.rendering import tuned_to_text
    from bitfit_probe.tuning.options import TuneOptions
    from bitfit_probe.tuning.tune import tune as run

    options = TuneOptions(**asked)

    # What libraries underneath have to say is no result.
    with ProgressBar("training", quiet=quiet) as progress, contextlib.redirect_stdout(sys.stderr):
        done = run(model, data, out=out, columns=columns, options=options, progress=progress)
    say(tuned_to_text(done.card, str(out), str(model)))
