"""``bitfit-probe inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from bitfit_probe.cli.options import (
    PATH,
    build_option,
    counts_as_failure,
    fail_on_option,
    format_option,
    out_option,
    quiet_option,
    state_dict_key_option,
)
from bitfit_probe.cli.output import ProgressBar, deliver, one_blas_thread, terminal_width
from bitfit_probe.outputs import refuse_overlap

__all__ = ["inspect"]


@click.command(no_args_is_help=True)
@click.argument("checkpoint", type=PATH)
@format_option("text", "json")
@out_option()
@fail_on_option
@build_option
@state_dict_key_option
@quiet_option
def inspect(
    checkpoint: Path,
    form: Literal["text", "json"],
    out: Path | None,
    fail_on: str,
    build: bool,
    state_dict_key: str | None,
    quiet: bool,
) -> int:
    """Judge one CHECKPOINT, or one adapter, without a base: what it holds, and which promises it breaks.

    Exit status: 0 nothing broken at or above --fail-on, 1 broken, 2 could not run, 3 an internal error.
    """
    refuse_overlap(filter(None, (out,)), (checkpoint,))
    one_blas_thread()
    from bitfit_probe.api.inspect import inspect as run
    from bitfit_probe.rendering import inspection_to_json, inspection_to_text

    with ProgressBar("reading", quiet=quiet) as progress:
        found = run(checkpoint, state_dict_key=state_dict_key, build=build, progress=progress)
    shown = inspection_to_json(found) if form == "json" else inspection_to_text(found, terminal_width())
    deliver(shown, out, (checkpoint,))
    return int(any(counts_as_failure(item.severity, fail_on) for item in found.promises.of("broken")))
