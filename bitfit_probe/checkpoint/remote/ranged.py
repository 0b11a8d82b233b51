"""A file on a server, of which only the asked-for byte ranges are fetched (RFC 9110, section 14)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from bitfit_probe.checkpoint.remote.multipart import parts_of
from bitfit_probe.checkpoint.remote.spans import Range, Spans, merged
from bitfit_probe.checkpoint.remote.transport import Get, Reply, refusal
from bitfit_probe.checkpoint.storage.file import Bytes, File
from bitfit_probe.errors import ChangedError, EmptyError, NoRangesError, RemoteError, TruncatedError

__all__ = ["RangedFile"]

#: First byte, the byte behind the last one, and the whole file's size.
Span = tuple[int, int, int]

#: The first bite: it holds most safetensors headers whole (45 kB for BERT-large).
_FIRST = 1 << 16
#: Ranges in one request: servers refuse hundreds, and a header of 8 kB.
_TOGETHER = 64
#: Beyond this, downloading the file is the better way.
_MOST = 256 << 20
#: Bytes that a server may put around each range.
_AROUND = 1024
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")


class RangedFile(File):
    """Byte ranges of a file on a server, kept in memory once they are fetched.

    Every reply must tell the same ETag, date and size as the first one.

    Parameters
    ----------
    url
        Its address.
    get
        How to ask for it.
    path
        What to call it in messages; its suffix tells the format.
    headers
        Sent with each request.

    Raises
    ------
    NoRangesError
        The server sends the whole file whatever is asked for.
    RemoteError, DeniedError, NotFoundError
        It does not answer, or with no.
    """

    def __init__(self, url: str, get: Get, path: Path, headers: dict[str, str] | None = None) -> None:
        self.path, self.size = path, _FIRST
        self._url, self._get = url, get
        self._headers = {"Accept-Encoding": "identity", **(headers or {})}
        self._version: tuple[str | None, ...] | None = None
        self._spans = Spans()
        self._held = 0
        self._several = True  # until the server shows that it answers one range at a time only
        self._fetch([(0, _FIRST)])

    def read_into(self, out: Bytes, offset: int) -> None:
        """Fill `out` from `offset`, from what is held, else from the server."""
        stop = offset + len(out)
        if stop > self.size:
            raise self._too_short()
        if self._spans.find(offset, stop) is None:
            self._fetch([(offset, stop)])
        out[:] = np.frombuffer(self._spans.find(offset, stop) or b"", np.uint8)

    def expect(self, ranges: Iterable[Range]) -> None:
        """Fetch what will be read, with as few requests as its gaps allow."""
        wanted = merged(part for part in ranges if self._spans.find(*part) is None)
        for at in range(0, len(wanted), _TOGETHER):
            self._fetch(wanted[at : at + _TOGETHER])

    def check_unchanged(self) -> None:
        """Nothing to do: every reply was held against the first one."""

    def _fetch(self, ranges: Sequence[Range]) -> None:
        self._held += sum(stop - start for start, stop in ranges)
        if self._held > _MOST:
            raise RemoteError(
                f"{self._held:,} bytes would have to be fetched in pieces",
                advice="leave out --biases-only, so that it is downloaded whole",
                path=self.path,
            )
        if len(ranges) > 1 and self._several:
            found = self._ask(ranges)
            if found is not None:
                self._keep(found)
                return
            self._several = False
        for part in ranges:
            self._keep(self._ask([part]) or {})

    def _keep(self, found: dict[int, bytes]) -> None:
        for start, data in found.items():
            self._spans.keep(start, data)

    def _ask(self, ranges: Sequence[Range]) -> dict[int, bytes] | None:
        """The bytes of `ranges` by their starts; None where a server does not give several at once."""
        asked = ", ".join(f"{start}-{stop - 1}" for start, stop in ranges)
        with self._get(self._url, {**self._headers, "Range": f"bytes={asked}"}) as reply:
            if len(ranges) > 1:
                if reply.status != 206 or "multipart/byteranges" not in reply.headers.get("content-type", ""):
                    return None
                self._check_version(reply, None)
                body = self._body(reply, sum(stop - start + _AROUND for start, stop in ranges), exact=False)
                return self._several_parts(reply, body, ranges)
            self._check_status(reply)
            start, stop, total = self._content_range(reply.headers.get("content-range", ""))
            self._check_version(reply, total)
            if (start, stop) != (ranges[0][0], min(ranges[0][1], self.size)):
                raise self._nonsense("another range than the one that was asked for")
            return {start: self._body(reply, stop - start, exact=True)}

    def _several_parts(self, reply: Reply, body: bytes, ranges: Sequence[Range]) -> dict[int, bytes]:
        found = {}
        for told, data in parts_of(body, reply.headers.get("content-type", "")):
            start, stop, total = self._content_range(told)
            if total != self.size or stop - start != len(data):
                raise self._nonsense("parts that contradict their headers")
            found[start] = data
        if [(start, start + len(data)) for start, data in found.items()] != list(ranges):
            raise self._nonsense("other ranges than those that were asked for")
        return found

    def _body(self, reply: Reply, count: int, *, exact: bool) -> bytes:
        out = bytearray()
        for chunk in reply.chunks:
            out += chunk
            if len(out) > count:
                raise self._nonsense("more bytes than it announced")
        if exact and len(out) < count:
            raise TruncatedError(
                "the server's answer broke off", advice="check the connection and run again", path=self.path
            )
        return bytes(out)

    def _check_status(self, reply: Reply) -> None:
        if reply.status == 206:
            return
        if reply.status == 200:
            raise NoRangesError(
                "the server sends whole files only, not the byte ranges that were asked for",
                advice="leave out --biases-only, so that it is downloaded whole",
                path=self.path,
            )
        if reply.status == 416:
            if self._version is None:
                raise EmptyError("the file is empty", advice="check the address", path=self.path)
            raise self._changed()
        raise refusal(reply.status, self._url)

    def _content_range(self, told: str) -> Span:
        match = _CONTENT_RANGE.fullmatch(told.strip())
        if not match:
            raise self._nonsense(f"the content range {told[:80]!r}")
        start, last, total = map(int, match.groups())
        if not start <= last < total:
            raise self._nonsense(f"the content range {told[:80]!r}")
        return start, last + 1, total

    def _check_version(self, reply: Reply, total: int | None) -> None:
        told = reply.headers.get("etag"), reply.headers.get("last-modified")
        if self._version is None and total is not None:
            self._version, self.size = told, total
        if told != self._version or total not in (None, self.size):
            raise self._changed()

    def _changed(self) -> ChangedError:
        return ChangedError(
            "the file changed on its server while it was read", advice="run again", path=self.path
        )

    def _nonsense(self, what: str) -> RemoteError:
        return RemoteError(f"the server sends {what}", advice="download the file instead", path=self.path)
