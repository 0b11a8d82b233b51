"""One GET over HTTP with the standard library, and what a server's refusal means."""

from __future__ import annotations

import base64
import http.client
import io
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from bitfit_probe.errors import DeniedError, NotFoundError, RemoteError, UnreadableError, shown
from bitfit_probe.frozen import Frozen

__all__ = ["TIMEOUT", "Get", "Patience", "Reply", "asking", "get", "paced", "refusal", "unanswered"]

#: Seconds that a server may stay silent.
TIMEOUT = 30
_CHUNK = 1 << 16
#: Bytes a second.
_SLOWEST = 1000
#: Bytes of an answer before its body: status, headers, and those of redirects.
_MOST_HEADERS = 1 << 18
_USER_AGENT = "bitfit-probe"


class Reply(Frozen):
    """A server's answer: its status, headers in lower case, and the body as it arrives."""

    status: int
    headers: Mapping[str, str]
    chunks: Iterator[bytes]


class Get(Protocol):
    """Ask for `url`; redirects are followed, and the connection ends with the context."""

    def __call__(self, url: str, headers: Mapping[str, str]) -> AbstractContextManager[Reply]:
        """Give the reply, whatever its status."""


@dataclass
class Patience:
    """How long one answer is waited for: a server that sends a byte now and then is given up.

    Attributes
    ----------
    silent
        Seconds without a byte, and seconds until all headers are there, redirects included.
    clock
        Seconds since some time.
    in_body
        Whether the headers are there: from then on a thousand bytes a second are enough.
    """

    silent: float = TIMEOUT
    clock: Callable[[], float] = time.monotonic
    in_body: bool = False
    received: int = 0
    start: float = field(init=False)
    readers: list[io.RawIOBase] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start = self.clock()

    def end(self) -> None:
        """Hang up, also where an exception still holds a reply."""
        for reader in self.readers:
            reader.close()

    def begin_body(self) -> None:
        """From here on the body comes."""
        self.in_body, self.received, self.start = True, 0, self.clock()

    def left(self) -> float:
        """Seconds until the next byte must be there.

        Raises
        ------
        TimeoutError
            None.
        """
        due = self.silent + (self.received / _SLOWEST if self.in_body else 0)
        left = min(due - (self.clock() - self.start), self.silent)
        if left <= 0:
            part = "the body" if self.in_body else "the headers"
            raise _TooSlowError(f"only {self.received:,} bytes of {part} came in {due:.0f} seconds")
        return left

    def take(self, count: int) -> None:
        """Count bytes that came."""
        self.received += count
        if not self.in_body and self.received > _MOST_HEADERS:
            raise _TooSlowError(f"more than {_MOST_HEADERS:,} bytes of headers")


class _TooSlowError(OSError):
    """What is said of a server that is given up; the text is our own."""


class _Paced(io.RawIOBase):
    """What comes through a socket, as long as patience lasts."""

    def __init__(self, sock: Any, patience: Patience) -> None:
        self._sock, self._patience = sock, patience
        self._kept = sock.makefile("rb", buffering=0)  # the socket stays open until this is closed
        patience.readers.append(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(self._patience.left())
        count: int = self._sock.recv_into(buffer)
        self._patience.take(count)
        return count

    def close(self) -> None:
        self._kept.close()
        super().close()


class _Wire:
    """A socket whose answers are read with patience."""

    def __init__(self, sock: Any, patience: Patience) -> None:
        self._sock, self._patience = sock, patience

    def makefile(self, mode: str, *_: Any, **__: Any) -> io.BufferedReader:
        return io.BufferedReader(_Paced(self._sock, self._patience))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class _Connection(http.client.HTTPConnection):
    def __init__(self, *args: Any, patience: Patience, **options: Any) -> None:
        super().__init__(*args, **options)
        self._patience = patience

    def connect(self) -> None:
        super().connect()
        self.sock: Any = _Wire(self.sock, self._patience)


class _SecureConnection(http.client.HTTPSConnection):
    def __init__(self, *args: Any, patience: Patience, **options: Any) -> None:
        super().__init__(*args, **options)
        self._patience = patience

    def connect(self) -> None:
        super().connect()
        self.sock: Any = _Wire(self.sock, self._patience)


class _Patient(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    """Open connections that read with patience."""

    def __init__(self, patience: Patience) -> None:
        urllib.request.HTTPSHandler.__init__(self)
        self._patience = patience

    def http_open(self, req: Any) -> Any:
        connection: Any = partial(_Connection, patience=self._patience)
        return self.do_open(connection, req)

    def https_open(self, req: Any) -> Any:
        connection: Any = partial(_SecureConnection, patience=self._patience)
        return self.do_open(connection, req)


class _SaferRedirects(urllib.request.HTTPRedirectHandler):
    """Follow a redirect only to a scheme that is no weaker."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        parts = urlsplit(newurl)
        if parts.scheme not in {"https", urlsplit(req.full_url).scheme} or "@" in parts.netloc:
            raise RemoteError(
                f"it redirects to what is not followed: {parts.scheme[:20]!r}, or an address with a user",
                advice="give the address of the file itself",
                path=shown(req.full_url),
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def asking(patience: Callable[[], Patience]) -> Get:
    """How to ask with urllib; each answer is read with a patience of its own.

    What is returned raises RemoteError where no answer comes, or one that breaks off. User and password of a
    URL go to its server as HTTP's basic authentication, and to no other.
    """

    @contextmanager
    def get(url: str, headers: Mapping[str, str]) -> Iterator[Reply]:
        patient = patience()
        try:
            response = _opened(url, headers, patient)
            with response:
                told = {name.lower(): value for name, value in response.headers.items()}
                yield Reply(response.status, told, _chunks(response, url))
        finally:
            patient.end()

    return get


get = asking(Patience)


def _opened(url: str, headers: Mapping[str, str], patience: Patience) -> Any:
    """The response of which the body is still to come."""
    opener = urllib.request.build_opener(_SaferRedirects(), _Patient(patience))
    try:
        response = opener.open(_request(url, headers), timeout=patience.left())
    except urllib.error.HTTPError as error:
        response = error  # it is a reply as well
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise unanswered(error, url) from error
    patience.begin_body()
    return response


def _request(url: str, headers: Mapping[str, str]) -> urllib.request.Request:
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(
        parts._replace(netloc=host).geturl(), headers={"User-Agent": _USER_AGENT, **headers}
    )
    if at:
        name, _, password = user.partition(":")
        word = base64.b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {word}")
    return request


def _chunks(response: Any, url: str) -> Iterator[bytes]:
    try:
        while chunk := response.read1(_CHUNK):
            yield chunk
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise unanswered(error, url) from error


def paced(chunks: Iterator[bytes], url: str, patience: Patience | None = None) -> Iterator[bytes]:
    """`chunks` of a client that waits for each byte anew, as long as they come at a pace.

    Raises
    ------
    RemoteError
        Less than a thousand bytes a second on average, after the time that a server may stay silent.
    """
    patience = patience or Patience()
    patience.begin_body()
    for chunk in chunks:
        try:
            patience.left()
        except OSError as error:
            raise unanswered(error, url) from error
        patience.take(len(chunk))
        yield chunk


def unanswered(error: BaseException, url: str) -> UnreadableError:
    """What to say where no whole answer came.

    The words are ours or the operating system's: an exception's text may quote the address, with what is
    secret in it.
    """
    return RemoteError(
        f"no answer ({_why(error)})", advice="check the address and the connection", path=shown(url)
    )


def _why(error: BaseException) -> str:
    """The first cause that the operating system has words for."""
    seen: BaseException | None = error
    for _ in range(10):
        if seen is None:
            break
        if isinstance(seen, _TooSlowError):
            return str(seen)
        if isinstance(seen, TimeoutError):
            return "it stayed silent too long"
        found = getattr(seen, "verify_message", None) or getattr(seen, "strerror", None)
        if isinstance(found, str) and found and not isinstance(seen, urllib.error.URLError):
            return found
        reason = getattr(seen, "reason", None)
        seen = reason if isinstance(reason, BaseException) else seen.__cause__ or seen.__context__
    return type(error).__name__


def refusal(status: int, url: str) -> UnreadableError:
    """What to say where the answer is no."""
    where = shown(url)
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
