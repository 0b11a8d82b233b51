"""Files and directories in the making, beside the place that they will take.

Each is held by a lock while its process lives, so that the next run can tell what a killed one left, and
remove it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path
from typing import Literal

#: Windows has no such locks; there a file that is open can't be removed by others.
LOCKS: bool = os.name == "posix"
if LOCKS:
    import fcntl

__all__ = ["LOCKS", "fresh_name", "lock", "release", "stage_file", "stage_folder", "sweep"]

_OURS = re.compile(r"\..*\.[0-9a-f]{8}\.bitfit-part", re.DOTALL)
#: Letters of the final name that the name in the making keeps: a name ends at 255 bytes.
_KEPT = 40


def fresh_name(out: Path) -> Path:
    """A name beside `out` that says whose it is."""
    return out.with_name(f".{out.name[:_KEPT]}.{os.urandom(4).hex()}.bitfit-part")


def lock(handle: int) -> Literal["taken", "held", "unknown"]:
    """Hold a file or directory until `handle` is closed: by us, by someone else, or no one can tell."""
    if not LOCKS:
        return "unknown"
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return "held"
    except OSError:  # some file systems know no locks
        return "unknown"
    return "taken"


def stage_file(out: Path) -> tuple[int, Path | None]:
    """A new file beside `out`, open for writing and locked, and its name.

    It has no name where the system knows such files: then even a kill leaves nothing.
    """
    handle = _nameless(out.parent)
    if handle is not None:
        lock(handle)
        return handle, None
    while True:
        path = fresh_name(out)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        # Between the two lines someone may have swept it away.
        if lock(handle) != "held" and (not LOCKS or os.fstat(handle).st_nlink):
            return handle, path
        os.close(handle)


def stage_folder(out: Path) -> tuple[int | None, Path]:
    """A new directory beside `out`, and what to `release` once it is done with."""
    while True:
        path = fresh_name(out)
        path.mkdir()
        if not LOCKS:
            return None, path
        try:
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        if lock(handle) != "held" and os.fstat(handle).st_nlink:
            return handle, path
        os.close(handle)


def release(handle: int | None) -> None:
    """Let go of what `stage_folder` holds."""
    if handle is not None:
        os.close(handle)


def sweep(folder: Path) -> None:
    """Remove what killed runs left in `folder`: staged by us, and held by nobody."""
    try:
        left = [path for path in folder.iterdir() if _OURS.fullmatch(path.name)]
    except OSError:
        return
    for path in left:
        _remove_abandoned(path)


def _remove_abandoned(path: Path) -> None:
    if not LOCKS:
        _remove(path)
        return
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return
    try:
        if lock(handle) == "taken" and os.fstat(handle).st_uid == os.geteuid():
            _remove(path)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):  # nothing of ours depends on it
            path.unlink()


def _nameless(folder: Path) -> int | None:
    """A new file without a name; None where there is no such thing."""
    if not hasattr(os, "O_TMPFILE") or not Path("/proc/self/fd").is_dir():
        return None
    try:
        return os.open(folder, os.O_WRONLY | os.O_TMPFILE, 0o666)
    except OSError:  # some file systems know none
        return None
