"""The command line: one command a library call. Only here is anything printed, and does the process exit."""

from __future__ import annotations

import sys

import click

from bitfit_probe.cli.check import check
from bitfit_probe.cli.demo import demo
from bitfit_probe.cli.diff import diff
from bitfit_probe.cli.distance import distance
from bitfit_probe.cli.explain import explain
from bitfit_probe.cli.patch import patch
from bitfit_probe.cli.recommend import recommend
from bitfit_probe.cli.report import report
from bitfit_probe.cli.tune import tune
from bitfit_probe.errors import BitfitProbeError
from bitfit_probe.version import __version__

__all__ = ["cli", "main"]

_FAILED, _INTERRUPTED = 2, 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bitfit-probe")
def cli() -> None:
    """Say what fine-tuning changed, and whether it trained as intended.

    Results go to stdout, progress and errors to stderr. Exit status: 0 fine, 1 findings, 2 could not run.
    """


cli.add_command(diff)
cli.add_command(check)
cli.add_command(explain)
cli.add_command(demo)
cli.add_command(distance)
cli.add_command(recommend)
cli.add_command(report)
cli.add_command(tune)
cli.add_command(patch)


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    sys.exit(_run(args))


def _run(args: list[str] | None) -> int:
    try:
        status = cli.main(args, prog_name="bitfit-probe", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return _INTERRUPTED
    except BitfitProbeError as error:
        from bitfit_probe.report.words import printable

        click.echo(f"error {error.code}: {printable(str(error))}", err=True)
        return _FAILED
    except SystemExit:
        # The reader of a pipe has seen enough: click exits with 1, which would mean findings.
        if type(sys.stdout).__name__.endswith("PacifyFlushWrapper"):
            return 0
        raise
    return status if isinstance(status, int) else 0
