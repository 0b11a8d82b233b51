"""The body of a reply that holds several byte ranges: ``multipart/byteranges`` (RFC 9110, section 14.6)."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["parts_of"]

_BOUNDARY = re.compile(r'boundary="?([^";,\s]{1,70})"?')
_CONTENT_RANGE = re.compile(rb"^content-range:[ \t]*([^\r\n]{1,80})", re.IGNORECASE | re.MULTILINE)
_LENGTH = re.compile(rb"bytes (\d{1,18})-(\d{1,18})/")


def parts_of(body: bytes, content_type: str) -> Iterator[tuple[str, bytes]]:
    """Each part's Content-Range, and its bytes; ends silently where the body makes no sense.

    The length of a part comes from its header, so bytes that look like a boundary do no harm.
    """
    found = _BOUNDARY.search(content_type)
    if not found:
        return
    line = b"--" + found[1].encode("latin-1", "replace")
    at = body.find(line)
    while at >= 0:
        head = body.find(b"\r\n\r\n", at)
        told = _CONTENT_RANGE.search(body, at, max(head, at))
        sizes = _LENGTH.match(told[1]) if told else None
        if told is None or sizes is None:
            return
        begin = head + 4
        end = begin + int(sizes[2]) - int(sizes[1]) + 1
        yield told[1].decode("latin-1").strip(), body[begin:end]
        at = body.find(line, end)
