"""How a run ends: a status, and where something went wrong one line on stderr. No error passes this by."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import click

from bitfit_probe.cli.streams import complaint, fault, silence, unwritable
from bitfit_probe.errors import BitfitProbeError, OutOfMemoryError, RefusedError

if TYPE_CHECKING:
    from bitfit_probe.records import Failure

__all__ = ["FAILED", "FINE", "INTERNAL", "INTERRUPTED", "Debug", "Raised", "ended", "tell_failures"]

#: Exit statuses beside 1, which says that there are findings.
FINE, FAILED, INTERNAL, INTERRUPTED = 0, 2, 3, 130

_PACKAGE = Path(__file__).parents[1]


def tell_failures(failures: Iterable[Failure]) -> int | None:
    """A line on stderr for each checkpoint among several that could not be judged; the status, where any."""
    from bitfit_probe.rendering.words import printable

    found = list(failures)
    for item in found:
        complaint(f"error {item.code}: {printable(item.message)}")
    return FAILED if found else None


class Raised(Exception):  # noqa: N818 - no error of its own
    """Carries what a command raised, its cause, past click."""


class Debug:
    """Whether tracebacks are printed; the option ``--debug`` turns it on."""

    def __init__(self) -> None:
        self.on = bool(os.environ.get("BITFIT_PROBE_DEBUG"))


def ended(run: Callable[[], object], debug: Debug, interrupted: Callable[[], bool]) -> int:
    """The status with which the process is to exit, after `run`.

    Parameters
    ----------
    run
        The command; a status, or None for 0.
    debug
        Asked only after `run`, which may set it.
    interrupted
        Whether there was a Ctrl-C: libraries may make other errors of it.
    """
    try:
        try:
            status = run()
            _flush()
        except SystemExit as error:
            status = _of_exit(error)
    except click.ClickException as error:
        return _wrong_usage(error)
    except BaseException as caught:
        raised = (caught.__cause__ or caught) if isinstance(caught, Raised) else caught
        if interrupted() or isinstance(raised, (click.Abort, KeyboardInterrupt)):
            complaint("interrupted")
            return INTERRUPTED
        return _failed(raised, debug)
    return status if isinstance(status, int) else FINE


def _of_exit(error: SystemExit) -> int:
    """The status of an exit that click decided on: nobody reads its help any more."""
    if type(sys.stdout).__name__.endswith("PacifyFlushWrapper"):  # click's, around a pipe that broke
        return FINE
    return error.code if isinstance(error.code, int) else FINE


def _flush() -> None:
    broken = fault(sys.stdout)
    if broken is not None:
        raise broken


def _wrong_usage(error: click.ClickException) -> int:
    try:
        error.show()
    except OSError:
        silence(sys.stderr)
    return error.exit_code


def _failed(error: BaseException, debug: Debug) -> int:
    from bitfit_probe.rendering.words import printable

    if debug.on:
        import traceback

        complaint("".join(traceback.format_exception(error)).rstrip("\n"))
    known = _known(error)
    if known is None:
        complaint(f"internal error: {type(error).__name__} {_place(error.__traceback__)}; {_report(debug)}")
        return INTERNAL
    complaint(f"error {known.code}: {printable(str(known))}")
    return FAILED


def _known(error: BaseException) -> BitfitProbeError | None:
    """The error as one of ours; None where it is a fault of the program."""
    if isinstance(error, BitfitProbeError):
        return error
    if isinstance(error, MemoryError):
        return OutOfMemoryError("not enough memory", advice="close something, or take a smaller model")
    if not isinstance(error, OSError):
        return None
    why = error.strerror or type(error).__name__
    broken = fault(sys.stdout)
    if broken is not None:
        return unwritable(broken)
    path = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else None
    return RefusedError(f"the system says: {why}", advice="check the path and the disk", path=path)


def _report(debug: Debug) -> str:
    told = "the traceback above" if debug.on else "what `bitfit-probe --debug …` prints"
    return f"please report it with {told} and the version"


def _place(trace: TracebackType | None) -> str:
    """The last line of ours that ran; the error's own text may quote what it should not."""
    import traceback

    frames = [frame for frame in traceback.extract_tb(trace) if Path(frame.filename).is_relative_to(_PACKAGE)]
    if not frames:
        return "outside of the program's own code"
    return f"in {Path(frames[-1].filename).relative_to(_PACKAGE.parent).as_posix()}:{frames[-1].lineno}"
