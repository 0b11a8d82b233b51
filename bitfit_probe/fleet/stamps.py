"""What tells that a checkpoint is as it was: names, sizes and times of its files, none of them read."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bitfit_probe.checkpoint.directory import weight_suffixes
from bitfit_probe.checkpoint.remote import version_of
from bitfit_probe.checkpoint.source import Bucket, locate
from bitfit_probe.errors import BitfitProbeError, NotFoundError

__all__ = ["Stamp", "stamp_of"]


class Stamp(NamedTuple):
    """A digest that changes where a file does, and the bytes of the weights."""

    digest: str
    nbytes: int


def stamp_of(given: str) -> Stamp:
    """The stamp of what a caller named.

    A folder's is of the files at its top and one below; a file's is of it and the JSON files beside it. What
    lies in a bucket is told by its store; what lies on another server is known by its address alone, and
    counts as unchanged.
    """
    try:
        place = locate(given)
    except NotFoundError:
        place = Path(given)
    files: Any = sorted(_files(place)) if isinstance(place, Path) else []
    weights = sum(size for name, size, _ in files if Path(name).suffix in weight_suffixes())
    if isinstance(place, Bucket):
        with contextlib.suppress(BitfitProbeError):  # whoever judges it says why
            files, weights = version_of(place)
    told = json.dumps([str(place), files])
    return Stamp(hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest(), weights)


def _files(path: Path) -> Iterator[tuple[str, int, int]]:
    """Name, size and time of each file, as far as the system tells."""
    try:
        found = [*path.glob("*"), *path.glob("*/*")] if path.is_dir() else [path, *path.parent.glob("*.json")]
    except OSError:
        return
    for each in found:
        try:
            seen = each.stat()
        except OSError:
            continue
        if each.is_file():
            yield os.path.relpath(each, path.parent), seen.st_size, seen.st_mtime_ns
