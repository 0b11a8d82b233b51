"""What a caller named: a path, a model on the Hugging Face Hub, a URL, a bucket. What exists here wins."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote, urlsplit

from bitfit_probe.checkpoint.directory import weight_suffixes
from bitfit_probe.errors import NotFoundError
from bitfit_probe.frozen import Frozen

__all__ = ["Bucket", "HubModel", "Location", "Url", "locate"]


class HubModel(Frozen):
    """A model of the Hub, such as ``google-bert/bert-base-uncased``, at a branch, tag or commit."""

    repo: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{self.repo}@{self.revision}" if self.revision else self.repo


class Url(Frozen):
    """A file on some server."""

    text: str


class Bucket(Frozen):
    """An object in a store that fsspec reaches, or a folder of them."""

    text: str


Location: TypeAlias = Path | HubModel | Url | Bucket

#: One slash is enough: pathlib folds the two of a URL that was held in a Path.
_URL = re.compile(r"(https?):/+(.+)", re.IGNORECASE | re.DOTALL)
_BUCKET = re.compile(r"(s3a?|gs|gcs|az|abfss?|hf|memory):/+([^/].*)", re.DOTALL)
_LOCAL = re.compile(r"file:(?://(?:localhost)?(?=/))?(/.*)", re.DOTALL)
_REPO = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?", re.ASCII)


def locate(given: str | Path) -> Location:
    """Where `given` lies.

    Nothing is looked up on a network for a name that looks like a file, or whose first folder exists here:
    both are rather misspelt paths.

    Raises
    ------
    NotFoundError
        An address that no server can have.

    >>> locate("google-bert/bert-base-uncased@main")
    HubModel(repo='google-bert/bert-base-uncased', revision='main')
    >>> locate("https://example.org/model.safetensors")
    Url(text='https://example.org/model.safetensors')
    >>> locate("s3://bucket/runs/7")
    Bucket(text='s3://bucket/runs/7')
    """
    path, text = Path(given), str(given)
    if os.path.lexists(path):
        return path
    url, repo, bucket = _URL.fullmatch(text), _REPO.fullmatch(text), _BUCKET.fullmatch(text)
    local = _LOCAL.fullmatch(text)
    if url:
        return _url(f"{url[1].lower()}://{url[2]}")
    if bucket:
        return Bucket(f"{bucket[1]}://{bucket[2]}")
    if local:
        return Path(unquote(local[1]))
    if repo and not _is_file_name(path) and not os.path.lexists(path.parts[0]):
        return HubModel(repo[1], repo[2])
    return path


def _is_file_name(path: Path) -> bool:
    return path.suffix == ".json" or path.suffix in weight_suffixes()


def _url(text: str) -> Url:
    try:
        possible = bool(urlsplit(text).hostname) and urlsplit(text).port != 0
    except ValueError:  # brackets without a partner, a port that is no number
        possible = False
    if not possible:
        raise NotFoundError("an address that no server can have", advice="check its host and port", path=text)
    return Url(text)
