"""A file on a server, downloaded whole into a temporary file that nobody else can see."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from bitfit_probe.checkpoint.remote.transport import Get, refusal
from bitfit_probe.checkpoint.storage.file import File
from bitfit_probe.errors import OutputError, TruncatedError

__all__ = ["DownloadedFile"]


class DownloadedFile(File):
    """A download without a name on the disk: it is gone with the process, however that ends.

    Raises
    ------
    TruncatedError
        The download broke off.
    OutputError
        There is no room for it.
    """

    def __init__(self, url: str, get: Get, path: Path) -> None:
        with tempfile.TemporaryFile(prefix="bitfit-probe-") as target:
            _download(url, get, path, target.fileno())
            self._adopt(path, os.dup(target.fileno()))

    def check_unchanged(self) -> None:
        """Nothing to do: no one else can reach it."""


def _download(url: str, get: Get, path: Path, target: int) -> None:
    done = 0
    with get(url, {"Accept-Encoding": "identity"}) as reply:
        if reply.status != 200:
            raise refusal(reply.status, url)
        length = reply.headers.get("content-length", "")
        for chunk in reply.chunks:
            done += len(chunk)
            _write(target, chunk, path)
    if length.isdecimal() and int(length) != done:
        raise TruncatedError(
            f"the download broke off after {done:,} of {int(length):,} bytes",
            advice="check the connection and run again",
            path=path,
        )


def _write(target: int, chunk: bytes, path: Path) -> None:
    view = memoryview(chunk)
    try:
        while view:
            view = view[os.write(target, view) :]
    except OSError as error:
        raise OutputError(
            f"the download can't be kept ({error.strerror})",
            advice=f"make room in {tempfile.gettempdir()}, or set TMPDIR to a place with room",
            path=path,
        ) from error
