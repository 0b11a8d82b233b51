"""Checkpoints in buckets, through fsspec: its file systems, its credentials, its settings.

A file is read by ranges and never kept whole: small ranges that are announced come together in few requests,
and long ones are read ahead of whoever reads them, within bounds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from bitfit_probe.checkpoint.directory import only, weight_suffixes
from bitfit_probe.checkpoint.interface import Checkpoint
from bitfit_probe.checkpoint.parsing.bounded_json import MAX_BYTES
from bitfit_probe.checkpoint.registry import Naming, exported, trained
from bitfit_probe.checkpoint.remote.spans import Range, Spans, merged
from bitfit_probe.checkpoint.sharded import escapes, is_index, is_plain, join
from bitfit_probe.checkpoint.source import Bucket
from bitfit_probe.checkpoint.storage.file import Bytes, File
from bitfit_probe.errors import (
    BitfitProbeError,
    ChangedError,
    DeniedError,
    EmptyError,
    MissingExtraError,
    NotFoundError,
    RemoteError,
)

__all__ = ["BucketFile", "open_bucket", "version_of"]

#: The first bite: it holds most safetensors headers whole.
_FIRST = 1 << 16
#: The most that is read ahead of one file, in parts that come side by side.
_AHEAD, _PART = 32 << 20, 4 << 20
#: Ranges up to this size are fetched when they are announced, those with at most so many bytes between them
#: together: each is a request of its own. All of them together are held, up to a bound.
_SMALL, _GAP, _MOST = 1 << 20, 1 << 18, 256 << 20
#: What lies beside weights and is read as well; and what of it tells how to read a file.
_BESIDE = (".json", ".model", "vocab.txt", "merges.txt")
_CONFIGS = ("config.json", "adapter_config.json")
#: By which stores tell that an object is another one, the surest first.
_VERSION = ("ETag", "etag", "generation", "blob_id", "LastModified", "last_modified", "mtime", "created")


class BucketFile(File):
    """An object in a store, read by ranges.

    Parameters
    ----------
    system
        The file system of fsspec.
    name
        The object's name in it.
    path
        What to call it in messages; its suffix tells the format.
    folder
        Holds what lies beside it, as long as this object lives.

    Raises
    ------
    NotFoundError, DeniedError, RemoteError
        The store does not have it, does not show it, or does not answer.
    """

    def __init__(self, system: Any, name: str, path: Path, folder: tempfile.TemporaryDirectory[str]) -> None:
        self.path, self._system, self._name, self._folder = path, system, name, folder
        self.home = Path(folder.name)
        with _told(path):
            found = system.info(name)
        self.size, self._version = int(found["size"] or 0), _version(found)
        self._pinned = Spans()
        self._held = 0
        self._ahead: tuple[int, bytes] = (0, b"")
        self._window = _FIRST // 2

    def read_into(self, out: Bytes, offset: int) -> None:
        """Fill `out` from `offset`: from what is held, else from the store."""
        stop = offset + len(out)
        if stop > self.size:
            raise self._too_short()
        pinned = self._pinned.find(offset, stop)
        if pinned is not None:
            out[:] = np.frombuffer(pinned, np.uint8)
            return
        done = 0
        while done < len(out):
            piece = self._from(offset + done, len(out) - done)
            out[done : done + len(piece)] = np.frombuffer(piece, np.uint8)
            done += len(piece)

    def expect(self, ranges: Iterable[Range]) -> None:
        """Fetch the small ones of the ranges that will be read, with as few requests as their gaps allow."""
        small = [part for part in ranges if part[1] - part[0] <= _SMALL and self._pinned.find(*part) is None]
        wanted = merged(small, _GAP)
        room = _MOST - self._held
        taken = []
        for start, stop in wanted:
            room -= stop - start
            if room >= 0:
                taken.append((start, stop))
        for (start, stop), piece in zip(taken, self._fetch(taken), strict=True):
            self._pinned.keep(start, piece)
            self._held += stop - start

    def check_unchanged(self) -> None:
        """Raise ChangedError where the store has another object under the name by now."""
        with _told(self.path):
            self._system.invalidate_cache(self._name)
            found = self._system.info(self._name)
        if (int(found["size"] or 0), _version(found)) != (self.size, self._version):
            raise ChangedError("the object changed while it was read", advice="run again", path=self.path)

    def _from(self, offset: int, count: int) -> memoryview:
        """Up to `count` bytes from `offset`; whoever reads on gets more and more ahead."""
        start, piece = self._ahead
        if not start <= offset < start + len(piece):
            goes_on = offset == start + len(piece)
            self._window = min(2 * self._window, _AHEAD) if goes_on else _FIRST
            stop = min(offset + max(self._window, min(count, _AHEAD)), self.size)
            parts = [(at, min(at + _PART, stop)) for at in range(offset, stop, _PART)]
            start, piece = self._ahead = offset, b"".join(self._fetch(parts))
        return memoryview(piece)[offset - start : offset - start + count]

    def _fetch(self, ranges: list[Range]) -> list[bytes]:
        if not ranges:
            return []
        with _told(self.path):
            pieces = self._system.cat_ranges(
                [self._name] * len(ranges),
                [start for start, _ in ranges],
                [stop for _, stop in ranges],
                on_error="raise",
            )
        if [len(piece) for piece in pieces] != [stop - start for start, stop in ranges]:
            raise self._too_short()
        return [bytes(piece) for piece in pieces]


def _version(info: dict[str, Any]) -> str | None:
    return next((str(info[key]) for key in _VERSION if info.get(key)), None)


def version_of(place: Bucket) -> tuple[str, int]:
    """What tells that an object, or a folder of them, is as it was; and the bytes of its weights.

    Raises
    ------
    NotFoundError, DeniedError, RemoteError
        As for `open_bucket`.
    """
    path = Path(place.text)
    with _told(path):
        system, name = _system(place)
        system.invalidate_cache()
        top = system.info(name)
        found = system.ls(name, detail=True) if top["type"] == "directory" else [top]
    files = sorted((str(item["name"]), int(item["size"] or 0), _version(item)) for item in found)
    weights = sum(
        int(item["size"] or 0) for item in found if Path(str(item["name"])).suffix in weight_suffixes()
    )
    return repr(files), weights


def open_bucket(
    place: Bucket, read: Callable[[File], Checkpoint], *, biases_only: bool = False
) -> Checkpoint:
    """Open an object, the index of several, or a folder of them as transformers would.

    Parameters
    ----------
    place
        What the caller named.
    read
        Reads one file.
    biases_only
        Of what lies beside weights, fetch the configs alone.

    Raises
    ------
    MissingExtraError
        fsspec, or what it needs for this kind of store, is not installed.
    NotFoundError, DeniedError, RemoteError
        The store does not have it, does not show it, or does not answer.
    EmptyError, AmbiguousError
        A folder without weights, or with several files of them.
    """
    path = Path(place.text)
    with _told(path):
        system, name = _system(place)
        is_folder = system.info(name)["type"] == "directory"
        home = name if is_folder else str(PurePosixPath(name).parent)
        names = _names(system, home) if is_folder else [PurePosixPath(name).name]
    chosen = _weights(names, path) if is_folder else names[0]
    with _told(path):
        folder = _fetched(system, home, _CONFIGS if biases_only or not is_folder else _beside(names))
    where = path if is_folder else path.parent
    opened = _open(lambda name: BucketFile(system, f"{home}/{name}", where / name, folder), chosen, read)
    known = {chosen, *(each.path.name for each in opened.files)}
    unread = tuple(sorted(each for each in names if _is_weights(each) and each not in known))
    return replace(opened, path=path, home=Path(folder.name), unread=unread)


def _open(file: Callable[[str], File], chosen: str, read: Callable[[File], Checkpoint]) -> Checkpoint:
    first = file(chosen)
    if not is_index(first.path):
        return read(first)

    def shard(name: str) -> Checkpoint:
        if not is_plain(name):
            raise escapes(first.path.parent, name)
        return read(file(name))

    joined = join(first, shard)
    return replace(joined, files=(*joined.files, first))


def _system(place: Bucket) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtraError(
            "addresses of buckets need fsspec",
            advice="pip install 'bitfit-probe[remote]', and s3fs, gcsfs or adlfs",
            path=place.text,
        ) from error
    system, name = fsspec.url_to_fs(place.text)
    return system, str(name)


def _names(system: Any, folder: str) -> list[str]:
    found = system.ls(folder, detail=True)
    return [PurePosixPath(str(item["name"])).name for item in found if item["type"] == "file"]


def _weights(names: list[str], path: Path) -> str:
    """The weight file that transformers would load of a folder; else what it was exported to."""
    found = _among(names, trained(), path) or _among(names, exported(), path)
    if found is None:
        raise EmptyError("no weight file at its top", advice="name the folder with the weights", path=path)
    return found


def _among(names: list[str], naming: Naming, path: Path) -> str | None:
    standard = next((name for name in (*naming.standard, *naming.adapters) if name in names), None)
    others = [name for name in names if name.endswith(naming.suffixes)]
    return standard or (only(others, path, "name the file itself") if others else None)


def _is_weights(name: str) -> bool:
    return PurePosixPath(name).suffix in weight_suffixes()


def _beside(names: list[str]) -> list[str]:
    return [name for name in names if name.endswith(_BESIDE)]


def _fetched(system: Any, home: str, names: Iterable[str]) -> tempfile.TemporaryDirectory[str]:
    """A folder with those small files of `home`; it goes with the last file that refers to it."""
    folder = tempfile.TemporaryDirectory(prefix="bitfit-probe-")
    for name in names:
        try:
            if int(system.info(f"{home}/{name}")["size"] or 0) <= MAX_BYTES:
                Path(folder.name, name).write_bytes(system.cat_file(f"{home}/{name}"))
        except FileNotFoundError:
            continue
    return folder


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what file systems raise into errors that say what to do.

    The words are ours: an exception's text may quote a key, or a link with a permission in it.
    """
    try:
        yield
    except BitfitProbeError:
        raise
    except FileNotFoundError as error:
        raise NotFoundError("no such object or bucket", advice="check the address", path=path) from error
    except ImportError as error:
        raise MissingExtraError(
            "fsspec lacks a package for this kind of address",
            advice="pip install s3fs (s3://), gcsfs (gs://), adlfs (az://) or huggingface_hub (hf://)",
            path=path,
        ) from error
    except Exception as error:
        raise _refusal(error, path) from error


def _refusal(error: Exception, path: Path) -> RemoteError:
    """What to say of a store that does not give what it was asked for."""
    name = type(error).__name__
    if isinstance(error, PermissionError):
        return DeniedError(
            "access is denied", advice="check the credentials that fsspec finds, and their rights", path=path
        )
    if "Credential" in name or "Auth" in name:
        return DeniedError(
            f"no usable credentials ({name})", advice="set them as fsspec's file system takes them", path=path
        )
    return RemoteError(f"no answer ({name})", advice="check the address and the connection", path=path)
