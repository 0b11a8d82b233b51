"""What the system says when something can't be written, as our own error."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from bitfit_probe.errors import OutputError

__all__ = ["cannot_write", "told_as_output"]


def cannot_write(
    path: Path, error: BaseException, advice: str = "check the directory and its space"
) -> OutputError:
    """The error that says why `path` can't be written."""
    why = getattr(error, "strerror", None) or str(error)
    return OutputError(f"can't be written ({why})", advice=advice, path=path)


@contextlib.contextmanager
def told_as_output(path: Path) -> Iterator[None]:
    """Tell what the system refuses meanwhile as an OutputError of `path`."""
    try:
        yield
    except (OSError, UnicodeEncodeError) as error:
        raise cannot_write(path, error) from error
