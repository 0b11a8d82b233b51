"""``bitfit-probe check``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from bitfit_probe.cli.endings import tell_failures
from bitfit_probe.cli.options import (
    PATH,
    build_option,
    codes_of,
    columns_options,
    counts_as_failure,
    data_option,
    fail_on_option,
    format_option,
    ignore_option,
    out_option,
    quiet_option,
    select_option,
    state_dict_key_option,
)
from bitfit_probe.cli.output import ProgressBar, colours, deliver, one_blas_thread, terminal_width
from bitfit_probe.outputs import refuse_overlap

if TYPE_CHECKING:
    from bitfit_probe.data import Columns
    from bitfit_probe.records import Check
    from bitfit_probe.records.options import Expected

__all__ = ["check"]

_COLOURS = {"error": "red", "warning": "yellow", "info": "blue"}


@click.command(no_args_is_help=True)
@click.argument("base", type=PATH)
@click.argument("tuned", type=PATH, nargs=-1, required=True)
@data_option
@columns_options
@format_option("text", "json", "sarif")
@out_option()
@fail_on_option
@click.option(
    "--expect",
    type=click.Choice(["bitfit", "bitfit+norm", "lora", "head", "full"]),
    help="The method that trained it: anything else that moved is an error.",
)
@select_option
@ignore_option
@build_option
@state_dict_key_option
@quiet_option
def check(
    base: Path,
    tuned: tuple[Path, ...],
    data: Path | None,
    columns: Columns,
    form: Literal["text", "json", "sarif"],
    out: Path | None,
    fail_on: str,
    expect: Expected | None,
    select: str | None,
    ignore: str | None,
    build: bool,
    state_dict_key: str | None,
    quiet: bool,
) -> int:
    """Say what is wrong with each TUNED checkpoint, worst first, and what could not be checked.

    Exit status: 0 nothing at or above --fail-on, 1 findings, 2 could not run (or not on all of several
    TUNED: the others are checked), 3 an internal error.
    """
    inputs = (base, *tuned, *([data] if data else []))
    refuse_overlap(filter(None, (out,)), inputs)
    one_blas_thread()
    from bitfit_probe.api.check import check as run
    from bitfit_probe.records.options import CheckOptions

    examples = None
    if data is not None:
        from bitfit_probe.data import read_examples

        examples = read_examples(data, columns)
    try:
        with ProgressBar("comparing", quiet=quiet) as progress:
            found = run(
                base,
                *tuned,
                data=examples,
                options=CheckOptions(codes_of(select), codes_of(ignore), expect, build, state_dict_key),
                progress=progress,
            )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    deliver(_shown(found, form, colour=out is None and colours()), out, inputs)
    failed = tell_failures(found.failures)
    return failed or int(any(counts_as_failure(finding.severity, fail_on) for finding in found.findings))


def _shown(found: Check, form: str, *, colour: bool) -> str:
    from bitfit_probe import rendering
    from bitfit_probe.api.check import explanations
    from bitfit_probe.version import __version__

    if form == "json":
        return rendering.check_to_json(found)
    if form == "sarif":
        return rendering.check_to_sarif(found, explanations(), version=__version__)
    text = rendering.check_to_text(found, width=terminal_width())
    for severity, hue in _COLOURS.items() if colour else ():
        text = text.replace(f" {severity} BP", f" {click.style(severity, fg=hue, bold=True)} BP")
    return text
