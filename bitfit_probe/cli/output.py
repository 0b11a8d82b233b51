"""Where results go: stdout, or a file that appears whole or not at all; and the progress bar."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from bitfit_probe.errors import OutputError, OverwriteError

__all__ = ["ProgressBar", "colours", "deliver", "one_blas_thread", "terminal_width", "write_whole"]

_WIDEST = 120


def one_blas_thread() -> None:
    """Keep BLAS from starting threads of its own beside ours; works only before numpy is imported."""
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def terminal_width() -> int:
    """Columns to use: the terminal's, at most 120; 80 where there is none."""
    return max(min(shutil.get_terminal_size((80, 24)).columns, _WIDEST), 40)


def colours() -> bool:
    """Whether stdout takes colours: a terminal, and NO_COLOR (no-color.org) is not set."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def deliver(text: str, out: Path | None, inputs: Iterable[Path]) -> None:
    """Print `text`, or write it to `out`."""
    if out is None:
        click.echo(text, nl=False)
    else:
        write_whole(out, text, inputs)


def write_whole(out: Path, content: str | bytes, inputs: Iterable[Path]) -> None:
    """Write a file that is there whole or not at all; text as UTF-8.

    Raises
    ------
    OverwriteError
        `out` is one of the inputs, or lies over a file in one of them.
    OutputError
        It can't be written.
    """
    try:
        _check_target(out, inputs)
        temporary = _written(out, content.encode() if isinstance(content, str) else content)
        try:
            temporary.replace(out)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except (OSError, UnicodeEncodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise OutputError(
            f"can't be written ({why})", advice="check the directory and its space", path=out
        ) from error


def _written(out: Path, content: bytes) -> Path:
    """A file beside `out` that holds `content` whole."""
    temporary = out.with_name(f".{out.name}.{os.urandom(4).hex()}")
    handle = _nameless(out.parent)
    named = handle is None
    if handle is None:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
            if not named:
                # Only with a directory's descriptor, be it unused, does Python follow the link.
                os.link(f"/proc/self/fd/{stream.fileno()}", temporary, src_dir_fd=stream.fileno())
    except BaseException:
        if named:
            temporary.unlink(missing_ok=True)
        raise
    return temporary


def _nameless(folder: Path) -> int | None:
    """A new file without a name, of which even a kill leaves nothing; None where there is no such thing."""
    if not hasattr(os, "O_TMPFILE") or not Path("/proc/self/fd").is_dir():
        return None
    try:
        return os.open(folder, os.O_WRONLY | os.O_TMPFILE, 0o666)
    except OSError:  # some file systems know none
        return None


def _check_target(out: Path, inputs: Iterable[Path]) -> None:
    if not out.exists():
        return
    for path in inputs:
        # An index stands for the shards beside it.
        home = path.parent if path.name.endswith(".index.json") else path
        inside = home.is_dir() and out.resolve().is_relative_to(home.resolve())
        if home.is_dir():  # a Hub snapshot links to files that lie elsewhere
            inside = inside or any(file.exists() and out.samefile(file) for file in home.iterdir())
        if inside or (path.exists() and out.samefile(path)):
            raise OverwriteError("would overwrite an input", advice="choose another file", path=out)
    if not out.is_file():  # renaming over a device would replace the device
        raise OutputError("is no regular file", advice="choose another file", path=out)


class ProgressBar:
    """A bar on stderr once the work has taken a second; nothing in pipes.

    Used as a context manager; calling it reports the bytes done and to do.
    """

    def __init__(self, label: str, *, quiet: bool) -> None:
        self._label = label
        self._shown = not quiet and sys.stderr.isatty()
        self._start, self._done = time.monotonic(), 0
        self._bar: Any = None

    def __enter__(self) -> ProgressBar:
        return self

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` bytes of `total` are done."""
        if not self._shown:
            return
        if self._bar is None and time.monotonic() - self._start > 1:
            self._bar = click.progressbar(length=total, label=self._label, file=sys.stderr)
            self._bar.__enter__()
            self._done = 0
        if self._bar is not None:
            self._bar.update(done - self._done)
            self._done = done

    def __exit__(self, *problem: object) -> None:
        if self._bar is not None:
            self._bar.__exit__(*problem)
