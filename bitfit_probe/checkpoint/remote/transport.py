"""One GET over HTTP with the standard library, and what a server's refusal means."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from bitfit_probe.errors import DeniedError, NotFoundError, RemoteError, UnreadableError

__all__ = ["TIMEOUT", "Get", "Reply", "get", "paced", "plain", "refusal", "unanswered"]

#: Seconds that a server may stay silent.
TIMEOUT = 30
_CHUNK = 1 << 16
#: Bytes a second.
_SLOWEST = 1000
_USER_AGENT = "bitfit-probe"


@dataclass(frozen=True)
class Reply:
    """A server's answer: its status, headers in lower case, and the body as it arrives."""

    status: int
    headers: Mapping[str, str]
    chunks: Iterator[bytes]


class Get(Protocol):
    """Ask for `url`; redirects are followed, and the connection ends with the context."""

    def __call__(self, url: str, headers: Mapping[str, str]) -> AbstractContextManager[Reply]:
        """Give the reply, whatever its status."""


class _SaferRedirects(urllib.request.HTTPRedirectHandler):
    """Follow a redirect only to a scheme that is no weaker."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if urlsplit(newurl).scheme not in {"https", urlsplit(req.full_url).scheme}:
            raise urllib.error.URLError(f"redirected to {newurl[:100]!r}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextmanager
def get(url: str, headers: Mapping[str, str]) -> Iterator[Reply]:
    """Ask for `url` with urllib.

    Raises
    ------
    RemoteError
        No answer, or one that breaks off.
    """
    opener = urllib.request.build_opener(_SaferRedirects())
    try:
        request = urllib.request.Request(url, headers={"User-Agent": _USER_AGENT, **headers})
        response = opener.open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        response = error  # it is a reply as well
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise unanswered(error, url) from error
    with response:
        told = {name.lower(): value for name, value in response.headers.items()}
        yield Reply(response.status, told, paced(_chunks(response, url), url))


def _chunks(response: Any, url: str) -> Iterator[bytes]:
    try:
        while chunk := response.read1(_CHUNK):
            yield chunk
    except (OSError, http.client.HTTPException) as error:
        raise unanswered(error, url) from error


def paced(chunks: Iterator[bytes], url: str) -> Iterator[bytes]:
    """`chunks`, as long as they come at a pace: a server that sends a byte now and then is not waited for.

    Raises
    ------
    RemoteError
        Less than a thousand bytes a second on average, after the time that a server may stay silent.
    """
    start, total = time.monotonic(), 0
    for chunk in chunks:
        total += len(chunk)
        taken = time.monotonic() - start
        if taken > TIMEOUT and total < _SLOWEST * taken:
            raise RemoteError(
                f"only {total:,} bytes came in {taken:.0f} seconds",
                advice="run again when the connection is better",
                path=plain(url),
            )
        yield chunk


def unanswered(error: Exception, url: str) -> UnreadableError:
    """What to say where no whole answer came."""
    why = str(getattr(error, "reason", "") or error).partition("\n")[0] or type(error).__name__
    return RemoteError(f"no answer ({why})", advice="check the address and the connection", path=plain(url))


def refusal(status: int, url: str) -> UnreadableError:
    """What to say where the answer is no."""
    where = plain(url)
    if status in (401, 403):
        return DeniedError(
            f"access is denied (HTTP {status})",
            advice="log in with `hf auth login` or set HF_TOKEN; a link of one's own may have expired",
            path=where,
        )
    if status in (404, 410):
        return NotFoundError(f"no such file there (HTTP {status})", advice="check the address", path=where)
    if status == 429:
        return RemoteError("too many requests (HTTP 429)", advice="wait a while and run again", path=where)
    return RemoteError(f"an unexpected answer (HTTP {status})", advice="run again later", path=where)


def plain(url: str) -> str:
    """`url` without what may be secret: user, password, query.

    >>> plain("https://me:pw@example.org/m.safetensors?X-Amz-Signature=abc")
    'https://example.org/m.safetensors'
    """
    parts = urlsplit(url)
    if not parts.netloc:  # a model of the Hub
        return url
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
