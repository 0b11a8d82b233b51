"""``bitfit-probe fleet run | show | merge``."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from bitfit_probe.cli.endings import FAILED
from bitfit_probe.cli.options import (
    COLUMNS,
    PATH,
    biases_only_option,
    codes_of,
    counts_as_failure,
    data_option,
    fail_on_option,
    format_option,
    ignore_option,
    out_option,
    quiet_option,
    select_option,
    state_dict_key_option,
    trust_checksums_option,
)
from bitfit_probe.cli.output import deliver, one_blas_thread, terminal_width
from bitfit_probe.cli.streams import say

if TYPE_CHECKING:
    from bitfit_probe.records.fleet import Fleet

__all__ = ["fleet"]


@click.group(no_args_is_help=True)
def fleet() -> None:
    """Judge hundreds of checkpoints of one base, and say what stands out."""


def _shard(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", value)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise click.BadParameter("give i/n with i from 1 to n")
    return int(found[1]), int(found[2])


@fleet.command(no_args_is_help=True)
@click.argument("base", type=PATH)
@click.argument("tuned", type=PATH, nargs=-1)
@click.option("--list", type=PATH, help="A file with more TUNED, one a line.")
@out_option("Directory for the manifest and a JSON file a checkpoint.", required=True, folder=True)
@click.option("--jobs", type=click.IntRange(1), help="Worker processes; one a processor where not given.")
@click.option("--resume", is_flag=True, help="Go on: what is done and unchanged is not done again.")
@click.option("--shard", callback=_shard, help="Judge the i-th of n parts only, as i/n (1/8 … 8/8).")
@click.option("--dask", metavar="ADDRESS", help="Let the workers of this Dask scheduler do it.")
@data_option
@COLUMNS[0]
@COLUMNS[1]
@COLUMNS[2]
@biases_only_option
@trust_checksums_option
@fail_on_option
@select_option
@ignore_option
@state_dict_key_option
@quiet_option
def run(
    base: Path,
    tuned: tuple[Path, ...],
    out: Path,
    fail_on: str,
    select: str | None,
    ignore: str | None,
    quiet: bool,
    **asked: Any,
) -> int:
    """Judge each TUNED beside BASE, as diff and check do; what can't be read is a row, not the end.

    Exit status: 0 nothing at or above --fail-on, 1 findings, 2 some could not be read, or none.
    """
    listed = asked.pop("list")
    names = [*map(str, tuned), *(_names(listed) if listed else ())]
    if not names:
        raise click.UsageError("give TUNED, or a file of them with --list")
    one_blas_thread()
    from bitfit_probe.fleet.calls import run_fleet
    from bitfit_probe.records.options import FleetOptions

    options = FleetOptions(select=codes_of(select), ignore=codes_of(ignore), **asked)
    try:
        with _Progress(quiet=quiet) as progress:
            found = run_fleet(base, *names, out=out, options=options, progress=progress)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    say(_told(found))
    return _status(found, fail_on)


def _names(listed: Path) -> Iterable[str]:
    from bitfit_probe.checkpoint.storage.file import File

    file = File(listed)
    lines = file.read(0, file.size).decode("utf-8", "surrogateescape").splitlines()
    return [line.strip() for line in lines if line.strip()]


@fleet.command(no_args_is_help=True)
@click.argument("folder", metavar="DIR", type=PATH)
@format_option("text", "json", "csv", "html")
@out_option("Write to this file instead of stdout; a page always goes to a file.", folder=False)
@fail_on_option
def show(folder: Path, form: Literal["text", "json", "csv", "html"], out: Path | None, fail_on: str) -> int:
    """Say what a fleet comes to: verdicts, findings, what stands out, one line a checkpoint.

    Exit status: as for fleet run.
    """
    if form == "html" and out is None:
        raise click.UsageError("give the page's file with -o fleet.html")
    from bitfit_probe.fleet.calls import read_fleet
    from bitfit_probe.rendering import fleet_to_csv, fleet_to_html, fleet_to_json, fleet_to_text

    found = read_fleet(folder)
    if form == "text":
        shown = fleet_to_text(found, width=terminal_width())
    else:
        shown = {"json": fleet_to_json, "csv": fleet_to_csv, "html": fleet_to_html}[form](found)
    deliver(shown, out, (folder,))
    return _status(found, fail_on)


@fleet.command(no_args_is_help=True)
@click.argument("folders", metavar="DIR...", type=PATH, nargs=-1, required=True)
@out_option("Directory to make.", required=True, folder=True)
def merge(folders: tuple[Path, ...], out: Path) -> None:
    """Put the shards of one run together in a new directory."""
    from bitfit_probe.fleet.calls import merge_fleets

    say(_told(merge_fleets(*folders, out=out)))


def _told(found: Fleet) -> str:
    """What ``show`` says, but for the line a checkpoint."""
    from bitfit_probe.rendering import fleet_to_text

    return fleet_to_text(found, width=terminal_width(), brief=True)


def _status(found: Fleet, fail_on: str) -> int:
    if found.failed or found.missing:
        return FAILED
    return int(any(counts_as_failure(item.severity, fail_on) for row in found.rows for item in row.findings))


class _Progress:
    """A bar of bytes on stderr, with the checkpoints done and the time left; nothing in pipes."""

    def __init__(self, *, quiet: bool) -> None:
        self._shown = not quiet and sys.stderr.isatty()
        self._bar: Any = None
        self._done, self._words = 0, ""

    def __enter__(self) -> _Progress:
        return self

    def __call__(self, what: str, done: int, total: int) -> None:
        """Take in how much is done; the bytes come last."""
        if not self._shown:
            return
        if what == "checkpoints":
            self._words = f"{done:,} of {total:,}"
            return
        if self._bar is None:
            self._bar = click.progressbar(
                length=max(total, 1), label="judging", file=sys.stderr, item_show_func=lambda _: self._words
            )
            self._bar.__enter__()
        self._bar.update(done - self._done, self._words)
        self._done = done

    def __exit__(self, *problem: object) -> None:
        if self._bar is not None:
            self._bar.__exit__(*problem)
