"""``bitfit-probe diagnose``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from bitfit_probe.cli.options import (
    PATH,
    format_option,
    out_option,
    quiet_option,
    seed_option,
    state_dict_key_option,
    task_options,
)
from bitfit_probe.cli.output import ProgressBars, deliver, terminal_width
from bitfit_probe.cli.streams import say
from bitfit_probe.outputs import refuse_overlap

if TYPE_CHECKING:
    from bitfit_probe.data import Columns
    from bitfit_probe.records.diagnosis import Diagnosed

__all__ = ["diagnose"]


@click.command(no_args_is_help=True)
@click.argument("base", type=PATH)
@click.argument("tuned", type=PATH, nargs=-1, required=True)
@task_options
@click.option("--train-data", type=PATH, help="Fit on these examples, instead of on parts of --data.")
@click.option(
    "--examples",
    type=click.IntRange(20),
    default=400,
    show_default=True,
    help="Judge at most so many, taken at random.",
)
@click.option("--no-examples", is_flag=True, help="Keep the texts of examples out of the result.")
@click.option("--no-check", is_flag=True, help="Don't look for known failures.")
@click.option("--apply", metavar="NAME", help="Do this step for good, in a new folder that -o names.")
@format_option("text", "json", "md")
@out_option("Write to this file instead of stdout; with --apply the folder to make.")
@seed_option
@state_dict_key_option
@quiet_option
def diagnose(
    base: Path,
    tuned: tuple[Path, ...],
    data: Path,
    columns: Columns,
    train_data: Path | None,
    examples: int,
    no_examples: bool,
    no_check: bool,
    apply: str | None,
    form: Literal["text", "json", "md"],
    out: Path | None,
    seed: int,
    state_dict_key: str | None,
    quiet: bool,
) -> None:
    """Say how good each TUNED model is on labelled examples, and which step would make it better.

    Steps are tried, not guessed: other numbering of the labels, another head, less or more of the same
    change, groups put back to the base, other tokenizers, settings and checkpoints. Nothing is trained but
    linear heads, and those are judged on examples that they were not fitted on.
    """
    if apply is not None and (out is None or len(tuned) != 1):
        raise click.UsageError("--apply takes one TUNED, and the folder to make with -o DIR")
    inputs = (base, *tuned, data, *([train_data] if train_data else []))
    file = None if apply else out
    refuse_overlap(filter(None, (file,)), inputs)
    from bitfit_probe.api.diagnose import diagnose as run
    from bitfit_probe.records.options import DiagnoseOptions

    options = DiagnoseOptions(
        train_data, examples, no_examples, not no_check, apply, out if apply else None, seed, state_dict_key
    )
    with ProgressBars({"trying": "trying steps"}, quiet=quiet) as progress:
        found = run(base, *tuned, data=data, columns=columns, options=options, progress=progress)
    if apply is None or form != "text":
        deliver(_shown(found, form), file, inputs)
    else:
        say(f"{_done(found, apply, out)}\n")


def _done(found: Diagnosed, name: str, out: Path | None) -> str:
    """What was done, what it gained here, and how to judge it."""
    from bitfit_probe.rendering import printable

    row = next(row for row in found.diagnoses[0].interventions if row.name == name)
    fitted = " It was fitted on these examples: judge it on others." if row.cross_fitted else ""
    return printable(f"{row.title}: done in {out}.{fitted}")


def _shown(found: Diagnosed, form: str) -> str:
    from bitfit_probe.rendering import diagnosed_to_markdown, diagnosed_to_text
    from bitfit_probe.rendering.diagnosis_json import diagnosed_to_json

    if form == "json":
        return diagnosed_to_json(found)
    return diagnosed_to_markdown(found) if form == "md" else diagnosed_to_text(found, terminal_width())
