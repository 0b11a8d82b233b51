"""The command line: one command a library call. Only here is anything printed, and does the process exit."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click

from bitfit_probe.cli.check import check
from bitfit_probe.cli.demo import demo
from bitfit_probe.cli.diagnose import diagnose
from bitfit_probe.cli.diff import diff
from bitfit_probe.cli.distance import distance
from bitfit_probe.cli.endings import Debug, Raised, ended
from bitfit_probe.cli.explain import explain
from bitfit_probe.cli.fleet import fleet
from bitfit_probe.cli.identify import identify
from bitfit_probe.cli.inspect import inspect
from bitfit_probe.cli.patch import patch
from bitfit_probe.cli.recommend import recommend
from bitfit_probe.cli.report import report
from bitfit_probe.cli.streams import open_closed
from bitfit_probe.cli.tune import tune
from bitfit_probe.version import __version__

__all__ = ["cli", "main", "run"]


class _Commands(click.Group):
    """The commands; click would take any broken pipe for stdout's, and the end of any file for Ctrl-C."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a command, and keep what it raises from click."""
        try:
            return super().invoke(ctx)
        except (EOFError, KeyboardInterrupt, OSError) as error:
            raise Raised from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bitfit-probe")
@click.option("--debug", is_flag=True, help="Print the traceback of an error, too (or BITFIT_PROBE_DEBUG=1).")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """Say what fine-tuning changed, and whether it trained as intended.

    Results go to stdout, progress and errors to stderr. Exit status: 0 fine, 1 findings, 2 could not run,
    3 an error of the program's own, 130 interrupted.
    """
    if debug:
        context.ensure_object(Debug).on = True


cli.add_command(diff)
cli.add_command(check)
cli.add_command(explain)
cli.add_command(diagnose)
cli.add_command(identify)
cli.add_command(inspect)
cli.add_command(demo)
cli.add_command(distance)
cli.add_command(recommend)
cli.add_command(report)
cli.add_command(tune)
cli.add_command(patch)
cli.add_command(fleet)


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    sys.exit(run(args))


def run(args: list[str] | None = None, *, interrupted: Callable[[], bool] = lambda: False) -> int:
    """Run the command line; its status, whatever happens.

    Parameters
    ----------
    args
        Arguments; the process's own where not given.
    interrupted
        Whether there was a Ctrl-C.
    """
    open_closed()
    debug = Debug()
    return ended(
        lambda: cli.main(args, prog_name="bitfit-probe", standalone_mode=False, obj=debug), debug, interrupted
    )
