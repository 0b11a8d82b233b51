"""Byte ranges from servers that honour them, that don't, and that lie."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.server import Handler, Server, serving

from bitfit_probe.checkpoint.remote.multipart import parts_of
from bitfit_probe.checkpoint.remote.ranged import RangedFile, merged
from bitfit_probe.checkpoint.remote.transport import get
from bitfit_probe.errors import BitfitProbeError, ChangedError, NoRangesError

SIZE = 1_000_000
PLACES = [(200_000, 200_010), (200_020, 200_030), (500_000, 500_100), (999_000, 1_000_000)]
RANGES = st.lists(st.tuples(st.integers(0, 200), st.integers(1, 40)).map(lambda r: (r[0], r[0] + r[1])))


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    data = np.random.default_rng(0).bytes(SIZE)
    (tmp_path / "data").write_bytes(data)
    return data


@pytest.fixture
def server(tmp_path: Path, content: bytes) -> Iterator[Server]:
    with serving({"/data": tmp_path / "data"}) as running:
        yield running


def opened(server: Server) -> RangedFile:
    return RangedFile(f"{server.url}/data", get, Path("data"))


@given(ranges=RANGES, gap=st.integers(0, 30))
def test_merged_ranges_cover_all_and_lie_further_apart_than_the_gap(
    ranges: list[tuple[int, int]], gap: int
) -> None:
    found = merged(ranges, gap)
    assert all(any(a <= start and stop <= b for a, b in found) for start, stop in ranges)
    assert all(after[0] - before[1] > gap for before, after in itertools.pairwise(found))
    ends = {start for start, _ in ranges}, {stop for _, stop in ranges}
    assert all(a in ends[0] and b in ends[1] for a, b in found), "nothing is added at the ends"


@pytest.mark.parametrize(("kind", "requests"), [("several", 2), ("one", 5), ("whole", 5)])
def test_what_is_expected_comes_in_few_requests(
    server: Server, content: bytes, kind: str, requests: int
) -> None:
    server.ranges = kind
    file = opened(server)
    assert file.size == SIZE
    file.expect(PLACES)
    for start, stop in [*PLACES, (0, 100), (500_020, 500_030)]:
        assert file.read(start, stop - start) == content[start:stop]
    # The first bite, one for several ranges at once, and, where that fails, one for each of the three
    # that are left when the two neighbours are joined.
    assert len(server.log) == requests
    file.check_unchanged()


def test_what_nobody_expected_is_fetched_when_it_is_read(server: Server, content: bytes) -> None:
    file = opened(server)
    assert file.read(300_000, 7) == content[300_000:300_007]
    assert server.log[-1].range == "bytes=300000-300006"
    assert server.sent == 65_536 + 7


def test_a_server_that_ignores_ranges_is_noticed_before_much_came(tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as stream:
        os.truncate(stream.fileno(), 1 << 30)
    with serving({"/data": tmp_path / "big"}, ranges="none") as server:
        with pytest.raises(NoRangesError, match="leave out --biases-only"):
            opened(server)
        assert len(server.log) == 1
    assert server.sent < 32 << 20, "no more than the sockets' buffers hold"


def test_a_redirect_is_followed(server: Server, content: bytes) -> None:
    server.quirk = lambda handler: (
        handler.path == "/moved" and bool(handler.answer(302, b"", Location="/data") or 1)
    )
    file = RangedFile(f"{server.url}/moved", get, Path("data"))
    assert file.read(0, 10) == content[:10]


def later(answer: Callable[[Handler], object]) -> Callable[[Handler], bool]:
    """Answer so from the second request on."""

    def quirk(handler: Handler) -> bool:
        if len(handler.shared.log) < 2:
            return False
        answer(handler)
        return True

    return quirk


def other_tag(handler: Handler) -> None:
    handler.answer(206, bytes(7), Content_Range=f"bytes 300000-300006/{SIZE}", ETag='"new"')


def other_size(handler: Handler) -> None:
    told = {"ETag": '"x"', "Content_Range": "bytes 300000-300006/2000000"}
    handler.answer(206, bytes(7), **told)


def gone_short(handler: Handler) -> None:
    handler.answer(416, b"", Content_Range="bytes */10")


@pytest.mark.parametrize("change", [other_tag, other_size, gone_short])
def test_a_file_that_changes_between_two_requests(
    server: Server, change: Callable[[Handler], object]
) -> None:
    server.quirk = later(change)
    file = opened(server)
    with pytest.raises(ChangedError, match="changed on its server"):
        file.read(300_000, 7)


def test_a_file_that_is_rewritten_between_two_requests(server: Server, tmp_path: Path) -> None:
    file = opened(server)
    os.utime(tmp_path / "data", ns=(1, 1))
    with pytest.raises(ChangedError):
        file.expect([(300_000, 300_010), (600_000, 600_010)])


def lie(status: int = 206, body: bytes = bytes(65_536), **headers: object) -> Callable[[Handler], bool]:
    def quirk(handler: Handler) -> bool:
        handler.answer(status, body, **{"Content_Range": f"bytes 0-65535/{SIZE}", **headers})
        return True

    return quirk


def broken_off(handler: Handler) -> bool:
    handler.begin(206, 65_536, Content_Range=f"bytes 0-65535/{SIZE}")
    handler.send(bytes(100))
    handler.close_connection = True
    return True


def silent_end(handler: Handler) -> bool:
    handler.close_connection = True
    return True


LIES: dict[str, tuple[Callable[[Handler], bool], str]] = {
    "401": (lie(401), "BE116"),
    "403": (lie(403), "BE116"),
    "404": (lie(404), "BE101"),
    "410": (lie(410), "BE101"),
    "416 at once": (lie(416), "BE102"),
    "429": (lie(429), "BE115"),
    "500": (lie(500), "BE115"),
    "204": (lie(204, b""), "BE115"),
    "no content range": (lie(Content_Range=""), "BE115"),
    "content range of words": (lie(Content_Range="bytes a-b/c"), "BE115"),
    "content range without a size": (lie(Content_Range="bytes 0-65535/*"), "BE115"),
    "content range backwards": (lie(Content_Range=f"bytes 9-3/{SIZE}"), "BE115"),
    "content range beyond its size": (lie(Content_Range="bytes 0-65535/100"), "BE115"),
    "content range of 2^80": (lie(Content_Range=f"bytes 0-65535/{1 << 80}"), "BE115"),
    "another range": (lie(Content_Range=f"bytes 5-65540/{SIZE}"), "BE115"),
    "fewer bytes than the range": (lie(body=bytes(100)), "BE106"),
    "more bytes than the range": (lie(body=bytes(70_000)), "BE115"),
    "broken off": (broken_off, "BE106"),
    "no answer at all": (silent_end, "BE115"),
    "redirect to a file": (lie(302, b"", Location="file:///etc/passwd"), "BE115"),
    "redirect to ftp": (lie(302, b"", Location="ftp://127.0.0.1/data"), "BE115"),
    "redirect for ever": (lie(302, b"", Location="/data"), "BE115"),
}


@pytest.mark.parametrize("case", LIES)
def test_servers_that_refuse_or_lie(case: str, server: Server) -> None:
    server.quirk, code = LIES[case]
    with pytest.raises(BitfitProbeError) as caught:
        opened(server)
    assert caught.value.code == code
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize("content_type", ["multipart/byteranges", "multipart/byteranges; boundary=X"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--X--",
        b"--X\r\nContent-Range: bytes 200000-200029/1000000\r\n\r\n" + bytes(30),
        b"--X\r\nContent-Range: bytes 0-9/1000000\r\n\r\n" + bytes(10),
        b"--X\r\nContent-Range: bytes 200000-200029/7\r\n\r\n" + bytes(30),
        b"--X\r\nContent-Range: bytes 200000-99999999999/1000000\r\n\r\n" + bytes(30),
        b"--X\r\n\r\n" * 100,
        bytes(100_000),
    ],
)
def test_parts_that_make_no_sense(server: Server, body: bytes, content_type: str) -> None:
    file = opened(server)
    told = {"Content_Type": content_type, "ETag": file._version[0] if file._version else None}
    server.quirk = lambda handler: bool(handler.answer(206, body, **told) or 1)
    with pytest.raises(BitfitProbeError) as caught:
        file.expect(PLACES)
    assert caught.value.code == "BE115"


@given(
    body=st.binary(max_size=200) | st.text("-X\r\nContent-Range: bytes 0-9/", max_size=200).map(str.encode)
)
def test_any_body_ends(body: bytes) -> None:
    for told, data in parts_of(body, "multipart/byteranges; boundary=X"):
        assert len(told) <= 80
        assert data in body


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(BitfitProbeError, match=f"http://127.0.0.1:{port}/data: no answer"):
        RangedFile(f"http://127.0.0.1:{port}/data", get, Path("data"))


def test_too_much_for_pieces(server: Server) -> None:
    file = opened(server)
    with pytest.raises(BitfitProbeError, match="leave out --biases-only"):
        file.expect([(0, 300 << 20)])
    assert len(server.log) == 1
