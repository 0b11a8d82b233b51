"""Checkpoints that are named by an address: models on the Hugging Face Hub, files on any server, buckets.

The first two are downloaded whole, or, where only biases are asked for, read by byte ranges; objects in
buckets are always read by ranges.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urljoin, urlsplit

from bitfit_probe.checkpoint.formats import safetensors
from bitfit_probe.checkpoint.interface import Checkpoint
from bitfit_probe.checkpoint.remote import hub
from bitfit_probe.checkpoint.remote.buckets import open_bucket, version_of
from bitfit_probe.checkpoint.remote.download import DownloadedFile
from bitfit_probe.checkpoint.remote.ranged import RangedFile
from bitfit_probe.checkpoint.remote.transport import get
from bitfit_probe.checkpoint.sharded import escapes, is_index, is_plain, join
from bitfit_probe.checkpoint.source import HubModel, Url
from bitfit_probe.checkpoint.storage.file import File
from bitfit_probe.errors import DeniedError, RemoteError, UnsupportedError, shown

__all__ = ["open_bucket", "open_downloaded", "open_ranges", "version_of"]


def open_downloaded(
    place: HubModel | Url, open_local: Callable[[Path], Checkpoint], read: Callable[[File], Checkpoint]
) -> Checkpoint:
    """Download what `place` names, and open it.

    Parameters
    ----------
    place
        A model of the Hub, which goes through the Hub's cache, or a URL, which is kept for this process only.
    open_local
        Opens a folder.
    read
        Reads one file.
    """
    if isinstance(place, HubModel):
        return _from_folder(place, hub.download(place), open_local)
    return _from_url(place, DownloadedFile, read)


def open_ranges(place: HubModel | Url, open_local: Callable[[Path], Checkpoint]) -> Checkpoint:
    """Open safetensors files by their headers; of their data, only what will be read is fetched.

    Raises
    ------
    UnsupportedError
        Another format, whose parts can't be found from afar.
    NoRangesError
        The server sends whole files only.
    """
    if isinstance(place, Url):
        return _from_url(place, RangedFile, _read_header)
    try:
        files = hub.find(place)
    except DeniedError:
        raise
    except RemoteError as error:
        return _from_folder(place, hub.cached(place, error), open_local)
    opened = _open(files.weights(), files.ranged, _read_header)
    config = files.fetch("config.json")
    return _named(opened, place, files.commit, config.parent if config else None)


def _from_folder(place: HubModel, folder: Path, open_local: Callable[[Path], Checkpoint]) -> Checkpoint:
    return _named(open_local(folder), place, folder.name, folder)


def _named(opened: Checkpoint, place: HubModel, commit: str | None, home: Path | None) -> Checkpoint:
    note = f"from the Hub at commit {commit}"
    return replace(opened, path=Path(str(place)), home=home, notes=(*opened.notes, note))


def _from_url(
    place: Url, kind: type[RangedFile] | type[DownloadedFile], read: Callable[[File], Checkpoint]
) -> Checkpoint:
    def file(url: str) -> File:
        return kind(url, get, Path(shown(url)))

    opened = _open(file(place.text), lambda name: file(_beside(place.text, name)), read)
    return replace(opened, path=Path(shown(place.text)))


def _beside(url: str, name: str) -> str:
    """The address of the file called `name` in the folder of `url`, with the same permission in its query."""
    query = urlsplit(url).query
    return urljoin(url, quote(name)) + (f"?{query}" if query else "")


def _open(first: File, another: Callable[[str], File], read: Callable[[File], Checkpoint]) -> Checkpoint:
    """Read one file, or the shards that it is the index of."""
    if not is_index(first.path):
        return read(first)

    def shard(name: str) -> Checkpoint:
        if not is_plain(name):
            raise escapes(first.path.parent, name)
        return read(another(name))

    return join(first, shard)


def _read_header(file: File) -> Checkpoint:
    if not safetensors.matches(file.read(0, min(file.size, 16)), file):
        raise UnsupportedError(
            "no safetensors file, the one format that --biases-only reads from afar",
            advice="leave out --biases-only, so that it is downloaded whole",
            path=file.path,
        )
    return safetensors.read(file)
