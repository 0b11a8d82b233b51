"""The command line: one command a library call. Only here is anything printed, and does the process exit."""

from __future__ import annotations

import sys
from collections import UserDict
from collections.abc import Callable
from importlib import import_module

import click

from bitfit_probe.cli.endings import Debug, Raised, ended
from bitfit_probe.cli.streams import open_closed
from bitfit_probe.version import __version__

__all__ = ["cli", "main", "run"]

#: Each is a module beside this one.
_COMMANDS = (
    "check",
    "demo",
    "diagnose",
    "diff",
    "distance",
    "explain",
    "fleet",
    "identify",
    "inspect",
    "patch",
    "recommend",
    "report",
    "tune",
)
_NOT_LOADED = click.Command(None)


class _Modules(UserDict[str, click.Command]):
    """The commands by name, each imported when it is run or listed."""

    def __getitem__(self, name: str) -> click.Command:
        if self.data[name] is _NOT_LOADED:
            self.data[name] = getattr(import_module(f"{__name__}.{name}"), name)
        return self.data[name]


class _Commands(click.Group):
    """The commands; click would take any broken pipe for stdout's, and the end of any file for Ctrl-C."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a command, and keep what it raises from click."""
        try:
            return super().invoke(ctx)
        except (EOFError, KeyboardInterrupt, OSError) as error:
            raise Raised from error


@click.group(
    cls=_Commands,
    commands=_Modules(dict.fromkeys(_COMMANDS, _NOT_LOADED)),
    context_settings={"help_option_names": ["-h", "--help"]},
)
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
