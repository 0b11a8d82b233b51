"""``bitfit-probe identify``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from bitfit_probe.cli.options import PATH, format_option, out_option, seed_option
from bitfit_probe.cli.output import deliver, one_blas_thread, terminal_width
from bitfit_probe.outputs import refuse_overlap

__all__ = ["identify"]


@click.command(no_args_is_help=True)
@click.argument("tuned", type=PATH)
@click.argument("bases", type=PATH, nargs=-1, required=True)
@format_option("text", "json")
@out_option()
@seed_option
def identify(
    tuned: Path, bases: tuple[Path, ...], form: Literal["text", "json"], out: Path | None, seed: int
) -> int:
    """Say which of BASES the checkpoint TUNED was made from, from samples of rows.

    Exit status: 0 one of them, 1 none of them or no telling, 2 could not run, 3 an internal error.
    """
    inputs = (tuned, *bases)
    refuse_overlap(filter(None, (out,)), inputs)
    one_blas_thread()
    from bitfit_probe.api.identify import identify as run
    from bitfit_probe.rendering import identified_to_json, identified_to_text

    found = run(tuned, *bases, seed=seed)
    shown = identified_to_json(found) if form == "json" else identified_to_text(found, terminal_width())
    deliver(shown, out, inputs)
    return int(found.standing != "told")
