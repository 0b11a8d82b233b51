"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TypeAlias

from bitfit_probe.outputs import staging
from bitfit_probe.outputs.guard import refuse_overlap
from bitfit_probe.outputs.trouble import told_as_output

__all__ = ["Content", "write_files"]

#: Text (written as UTF-8), bytes, or what writes them itself.
Content: TypeAlias = str | bytes | Callable[[IO[bytes]], None]


def _no_doubt() -> None:
    """Nothing to check."""


def write_files(
    files: Sequence[tuple[Path, Content]], inputs: Iterable[Path], *, check: Callable[[], None] = _no_doubt
) -> None:
    """Write files that take their names when all of them are on the disk.

    Parameters
    ----------
    files
        What to write where.
    inputs
        What was read, so that none of it is overwritten.
    check
        Called between the last byte and the first name; where it raises, nothing is written.

    Raises
    ------
    OverwriteError
        One of `files` is one of the inputs, or lies over a file in one of them.
    OutputError
        One can't be written.
    """
    refuse_overlap([out for out, _ in files], inputs)
    for folder in {out.parent for out, _ in files}:
        staging.sweep(folder)
    with contextlib.ExitStack() as staged:
        ready = [(staged.enter_context(_written(out, content)), out) for out, content in files]
        check()
        for publish, out in ready:
            with told_as_output(out):
                publish()


@contextlib.contextmanager
def _written(out: Path, content: Content) -> Iterator[Callable[[], None]]:
    """`content` on the disk beside `out`; yields what gives it its name."""
    with told_as_output(out):
        handle, temporary = staging.stage_file(out)
    with told_as_output(out), os.fdopen(handle, "wb") as stream:

        def publish() -> None:
            nonlocal temporary
            if temporary is None:
                temporary = staging.fresh_name(out)
                # Only with a directory's descriptor, be it unused, does Python follow the link.
                os.link(f"/proc/self/fd/{handle}", temporary, src_dir_fd=handle)
            elif not staging.LOCKS:  # Windows renames no open file
                stream.close()
            temporary.replace(out)
            temporary = None

        try:
            _fill(stream, content)
            yield publish
        finally:
            if temporary is not None:
                if not staging.LOCKS:
                    stream.close()
                temporary.unlink(missing_ok=True)


def _fill(stream: IO[bytes], content: Content) -> None:
    if callable(content):
        content(stream)
    else:
        stream.write(content.encode() if isinstance(content, str) else content)
    stream.flush()
    os.fsync(stream.fileno())
