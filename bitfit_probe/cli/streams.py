"""The three standard streams, whatever state they are in when the process starts."""

from __future__ import annotations

import os
import sys
from typing import IO, Any

import click

from bitfit_probe.errors import OutputError

__all__ = ["complaint", "fault", "open_closed", "say", "silence", "unwritable"]


def open_closed() -> None:
    """Open the streams that the caller closed (``>&-``), so that no file of ours takes their numbers.

    What is written to a stdout that was closed fails, as it should; a stderr that was closed stays silent.
    """
    # In this order, since the lowest free number is taken.
    if sys.stdin is None:
        sys.stdin = _null(os.O_RDONLY, "r")
    if sys.stdout is None:
        sys.stdout = _null(os.O_RDONLY, "w")
    if sys.stderr is None:
        sys.stderr = _null(os.O_WRONLY, "w")


def _null(flags: int, mode: str) -> Any:
    return os.fdopen(os.open(os.devnull, flags), mode, encoding="utf-8", errors="backslashreplace")


def fault(stream: IO[str]) -> OSError | None:
    """What keeps `stream` from being written; what a failed write left in its buffer fails again."""
    try:
        stream.flush()
    except OSError as error:
        return error
    return None


def silence(stream: IO[str]) -> None:
    """Let what is left in the buffer of `stream` go nowhere: at the exit it would be tried and fail again."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def say(text: str) -> None:
    """Print a result, whose lines end as they should, to stdout.

    A reader of a pipe that has seen enough is no error: the status is still that of the whole result.

    Raises
    ------
    OutputError
        stdout can't be written: a full disk, a closed stream.
    """
    try:
        click.echo(text, nl=False)
    except BrokenPipeError:
        silence(sys.stdout)
    except OSError as error:
        raise unwritable(error) from error


def unwritable(error: OSError) -> OutputError:
    """What to say of a stdout that `error` came from."""
    silence(sys.stdout)
    return OutputError(f"can't be written ({error.strerror})", advice="check where it goes", path="stdout")


def complaint(line: str) -> None:
    """Print `line` to stderr, if that can be done."""
    try:
        click.echo(line, err=True)
    except OSError:
        silence(sys.stderr)
