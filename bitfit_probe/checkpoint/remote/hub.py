"""Models on the Hugging Face Hub, through huggingface_hub: its cache, token, endpoint and offline mode."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bitfit_probe.checkpoint.directory import only
from bitfit_probe.checkpoint.formats import safetensors
from bitfit_probe.checkpoint.registry import Naming, exported, trained
from bitfit_probe.checkpoint.remote.ranged import RangedFile
from bitfit_probe.checkpoint.remote.transport import TIMEOUT, Reply, paced, refusal, unanswered
from bitfit_probe.checkpoint.sharded import is_index, shard_names
from bitfit_probe.checkpoint.source import HubModel
from bitfit_probe.checkpoint.storage.file import File
from bitfit_probe.errors import (
    DeniedError,
    EmptyError,
    MissingExtraError,
    NotFoundError,
    OutputError,
    RemoteError,
)
from bitfit_probe.frozen import Frozen

__all__ = ["HubFiles", "cached", "download", "find"]

#: What lies beside weights and is read as well: configs, tokenizers, trainer states.
_BESIDE = (".json", ".model", "vocab.txt", "merges.txt")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)


class HubFiles(Frozen):
    """The files of a model at one commit.

    Attributes
    ----------
    model
        What was asked for.
    commit
        The commit that it stands for.
    names
        The files there.
    """

    model: HubModel
    commit: str | None
    names: tuple[str, ...]

    def weights(self) -> File:
        """The safetensors file that transformers would load, by ranges, or the index of its shards, whole."""
        for name in safetensors.NAMING.standard:
            if name in self.names:
                index = self.fetch(name) if is_index(Path(name)) else None
                return File(index) if index else self.ranged(name)
        others = self.at_top(safetensors.NAMING.suffixes)
        if not others:
            raise _empty(self.model, "no safetensors file, the one format that --biases-only reads from afar")
        return self.ranged(_only(others, self.model))

    def at_top(self, ends: tuple[str, ...]) -> list[str]:
        """The files outside of folders whose names end so."""
        return [name for name in self.names if "/" not in name and name.endswith(ends)]

    def fetch(self, name: str) -> Path | None:
        """A small file in the cache, downloaded if need be; None where the model has none of that name."""
        from huggingface_hub import hf_hub_download

        if name not in self.names:
            return None
        with _told(self.model), _quiet():
            return Path(hf_hub_download(self.model.repo, name, revision=self.commit))

    def ranged(self, name: str) -> File:
        """A file of which only ranges are fetched; one that lies whole in the cache is read from there."""
        from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
        from huggingface_hub.utils import build_hf_headers

        cached = try_to_load_from_cache(self.model.repo, name, revision=self.commit)
        if isinstance(cached, str):
            return File(Path(cached))
        url = hf_hub_url(self.model.repo, name, revision=self.commit)
        with _told(self.model):
            found = get_hf_file_metadata(url, timeout=TIMEOUT)
        headers = build_hf_headers(library_name="bitfit-probe")
        if urlsplit(found.location).netloc != urlsplit(url).netloc:
            headers.pop("authorization", None)  # another server: its link carries its own permission
        file = RangedFile(found.location, _get, Path(str(self.model)) / name, headers)
        if found.size not in (None, file.size):
            raise RemoteError(
                f"the Hub says {found.size:,} bytes, the server {file.size:,}",
                advice="download the model instead",
                path=file.path,
            )
        return file


def find(model: HubModel) -> HubFiles:
    """The commit and the files of `model`.

    Raises
    ------
    MissingExtraError
        huggingface_hub is not installed.
    NotFoundError, DeniedError, RemoteError
        The Hub does not know it, does not show it, or does not answer.
    """
    huggingface_hub = _library(model)
    with _told(model):
        info = huggingface_hub.HfApi().model_info(model.repo, revision=model.revision, timeout=TIMEOUT)
    return HubFiles(model, info.sha, tuple(file.rfilename for file in info.siblings or ()))


def download(model: HubModel) -> Path:
    """The folder in the Hub's cache with the weights and what lies beside them; its name is the commit.

    Where the Hub can't be reached, it is what the cache holds.
    """
    huggingface_hub = _library(model)
    try:
        files = find(model)
    except DeniedError:
        raise
    except RemoteError as error:
        return cached(model, error)
    beside = files.at_top(_BESIDE)
    with _told(model), _quiet():
        # By the revision and not by its commit, so that the cache learns what the revision stands for.
        return Path(
            huggingface_hub.snapshot_download(
                model.repo, revision=model.revision, allow_patterns=[*beside, *_weights(files)]
            )
        )


def cached(model: HubModel, error: RemoteError) -> Path:
    """The folder that the cache holds of `model`; raises `error` where it holds none."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model.repo, revision=model.revision, local_files_only=True))
    except LocalEntryNotFoundError as problem:
        partial = getattr(problem, "snapshot_path", None)  # as always: only what is read was fetched
        if partial is None:
            raise error from None
        return Path(partial)


def _weights(files: HubFiles) -> list[str]:
    """The weight files that would be read of a folder, with all shards that an index names."""
    found = _among(files, trained()) or _among(files, exported())
    if not found:
        raise _empty(files.model, "no weight file at its top")
    return found


def _among(files: HubFiles, naming: Naming) -> list[str]:
    for name in (*naming.standard, *naming.adapters):
        if name in files.names:
            index = files.fetch(name) if is_index(Path(name)) else None
            return [name, *(shard_names(File(index)) if index else ())]
    others = files.at_top(naming.suffixes)
    return [_only(others, files.model)] if others else []


def _only(names: list[str], model: HubModel) -> str:
    return only(names, str(model), "name the file by its URL")


def _empty(model: HubModel, what: str) -> EmptyError:
    return EmptyError(f"holds {what}", advice="name another model, or a file by its URL", path=str(model))


def _library(model: HubModel) -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise MissingExtraError(
            "no such file or directory here, and models on the Hub need huggingface_hub",
            advice="check the path, or pip install 'bitfit-probe[hub]'",
            path=str(model),
        ) from error
    return huggingface_hub


@contextmanager
def _told(model: HubModel) -> Iterator[None]:
    """Turn what huggingface_hub raises into errors that say what to do."""
    from huggingface_hub import errors

    where = str(model)
    try:
        yield
    except (errors.GatedRepoError, errors.DisabledRepoError) as error:
        raise DeniedError(
            "a gated or disabled model",
            advice=f"accept its terms at huggingface.co/{model.repo}, and log in with `hf auth login`",
            path=where,
        ) from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise NotFoundError(
            "no such file or directory here, and no such model on the Hub",
            advice="check the name; a private model needs `hf auth login`",
            path=where,
        ) from error
    except errors.LocalEntryNotFoundError as error:
        raise unanswered(error, where) from error
    except (errors.RevisionNotFoundError, errors.EntryNotFoundError) as error:
        raise NotFoundError(
            "the Hub has no such revision or file", advice="check the name after the @", path=where
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise RemoteError(
            "not in the Hub's cache, and offline", advice="unset HF_HUB_OFFLINE, or download it", path=where
        ) from error
    except errors.HfHubHTTPError as error:
        raise refusal(error.response.status_code, str(error.response.url)) from error
    except _failures() as error:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            raise OutputError(
                f"the Hub's cache can't be written ({error.strerror})",
                advice="make room there, or set HF_HOME to a place with room",
                path=where,
            ) from error
        raise unanswered(error, where) from error


def _failures() -> tuple[type[Exception], ...]:
    """What the Hub's HTTP client raises, be it httpx or one of its successors, and what lies below it."""
    from huggingface_hub.errors import HfHubHTTPError

    return (*(base for base in HfHubHTTPError.__bases__ if base is not OSError), OSError)


@contextmanager
def _get(url: str, headers: Mapping[str, str]) -> Iterator[Reply]:
    """Ask through the Hub's own client, which keeps its connections open."""
    from huggingface_hub.utils import get_session

    stream = get_session().stream("GET", url, headers=dict(headers), follow_redirects=True, timeout=TIMEOUT)
    try:
        with stream as response:
            told = {name.lower(): value for name, value in response.headers.items()}
            yield Reply(response.status_code, told, paced(response.iter_raw(), url))
    except _failures() as error:
        raise unanswered(error, url) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Show no progress bars where nobody looks at a terminal."""
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    hide = not sys.stderr.isatty() and not are_progress_bars_disabled()
    if hide:
        disable_progress_bars()
    try:
        yield
    finally:
        if hide:
            enable_progress_bars()
