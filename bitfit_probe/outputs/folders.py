"""Directories that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from bitfit_probe.errors import OutputError
from bitfit_probe.outputs import staging
from bitfit_probe.outputs.guard import refuse_taken
from bitfit_probe.outputs.trouble import told_as_output

__all__ = ["held_folder", "made_folder", "new_folder", "publish_folder", "scratch_folder"]


@contextlib.contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A directory to fill, which becomes `out` where no error ends the filling.

    Raises
    ------
    OverwriteError
        `out` is something else than absent or empty.
    OutputError
        It can't be written.
    """
    with told_as_output(out):
        refuse_taken(out)
        with made_folder(out.parent), _staged(out) as folder:
            yield folder
            publish_folder(folder, out)


def publish_folder(folder: Path, out: Path) -> None:
    """Give a directory that is done its name, with the modes that the umask leaves to new files.

    Raises
    ------
    OutputError
        That can't be done.
    """
    with told_as_output(out):
        mode = folder.stat().st_mode & 0o666  # the directory itself was made under the umask
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():  # safetensors writes for the owner only
                path.chmod(mode)
        refuse_taken(out)
        if os.name == "nt" and out.exists():  # there nothing is renamed over an empty directory
            out.rmdir()
        folder.replace(out)


@contextlib.contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Make `folder` and those above it where they are absent; an error within takes them away again."""
    made: list[Path] = []
    try:
        for path in [*reversed(folder.parents), folder]:
            if not path.is_dir():
                path.mkdir()
                made.append(path)
        yield
    except BaseException:
        for path in reversed(made):
            with contextlib.suppress(OSError):  # not empty: someone else's by now
                path.rmdir()
        raise


@contextlib.contextmanager
def held_folder(folder: Path, out: Path) -> Iterator[None]:
    """Keep other runs out of `folder` meanwhile; an OutputError of `out` where one is in it."""
    handle = os.open(folder, os.O_RDONLY) if staging.LOCKS else None
    try:
        if handle is not None and staging.lock(handle) == "held":
            raise OutputError("another run is writing to it", advice="wait until it ends", path=out)
        yield
    finally:
        staging.release(handle)


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A directory for what nobody keeps; what killed runs left of theirs goes too."""
    import tempfile  # it takes a tenth of what `--help` may

    with _staged(Path(tempfile.gettempdir()) / "scratch") as folder:
        yield folder


@contextlib.contextmanager
def _staged(out: Path) -> Iterator[Path]:
    staging.sweep(out.parent)
    held, folder = staging.stage_folder(out)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        staging.release(held)
