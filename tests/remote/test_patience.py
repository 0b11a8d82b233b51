"""Servers that drip or flood are given up; what is secret in an address is sent to its server, not shown."""

from __future__ import annotations

import base64
import itertools
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from support.server import Handler, serving

import bitfit_probe as bp
from bitfit_probe import sample
from bitfit_probe.checkpoint.remote.download import DownloadedFile
from bitfit_probe.checkpoint.remote.ranged import RangedFile
from bitfit_probe.checkpoint.remote.transport import Patience, asking, paced, unanswered
from bitfit_probe.cli import run as _run
from bitfit_probe.errors import BitfitProbeError, RemoteError, shown
from bitfit_probe.rendering import diff_to_json

BASE = Path(sample.base_path()) / "model.safetensors"


def hurried(seconds: float = 1.0) -> Callable[[], Patience]:
    """Each look at the clock is `seconds` later, however fast the bytes come."""

    def patience() -> Patience:
        ticks = itertools.count()
        return Patience(clock=lambda: seconds * next(ticks))

    return patience


@contextmanager
def answering(answer: Callable[[socket.socket], object]) -> Iterator[str]:
    """A server of one connection that sends what it likes, and its address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.recv(1 << 16)
            with suppress(OSError):  # the other side gives up, as it should
                answer(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/m.safetensors"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)
        assert not thread.is_alive()


def drip(begin: bytes, piece: bytes) -> Callable[[socket.socket], object]:
    def answer(connection: socket.socket) -> None:
        connection.sendall(begin)
        while True:
            connection.sendall(piece)

    return answer


ENDLESS = {
    "a status line": drip(b"", b"H"),
    "a header": drip(b"HTTP/1.1 200 OK\r\nX-Name: ", b"x"),
    "headers": drip(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"),
    "answers to come": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a redirect's body": drip(b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n", b"x" * 4096),
    "a chunk's length": drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
    "a body": drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n", b"x"),
}


@pytest.mark.parametrize("kind", [RangedFile, DownloadedFile])
@pytest.mark.parametrize("what", ENDLESS)
def test_a_server_that_never_ends_is_given_up(
    what: str, kind: type[RangedFile] | type[DownloadedFile]
) -> None:
    with answering(ENDLESS[what]) as url, pytest.raises(BitfitProbeError) as caught:
        kind(url, asking(hurried()), Path(url))
    assert caught.value.code in ("BE115", "BE117")  # a whole file where ranges were asked for needs no body
    assert "\n" not in str(caught.value)


def test_what_is_said_of_a_server_that_drips() -> None:
    with (
        answering(ENDLESS["a header"]) as url,
        pytest.raises(RemoteError, match=r"of the headers came in 30 s"),
    ):
        DownloadedFile(url, asking(hurried()), Path(url))
    with (
        answering(ENDLESS["answers to come"]) as url,
        pytest.raises(RemoteError, match="more than 262,144 bytes of headers"),
    ):
        DownloadedFile(url, asking(hurried(0)), Path(url))


def test_a_server_that_is_silent_is_given_up_by_the_real_clock() -> None:
    done = threading.Event()
    with answering(lambda _: done.wait(10)) as url:
        with pytest.raises(RemoteError, match="it stayed silent too long"):
            DownloadedFile(url, asking(lambda: Patience(silent=0.05)), Path(url))
        done.set()


def test_a_slow_body_is_waited_for_as_long_as_it_keeps_the_pace() -> None:
    patience = Patience(clock=iter([0, 0, 40, 41, 71]).__next__)
    patience.begin_body()
    patience.take(11_000)
    assert patience.left() == pytest.approx(1.0)  # 30 seconds, and 11 for the bytes; 40 are over
    with pytest.raises(OSError, match="only 11,000 bytes of the body came in 41 seconds"):
        patience.left()


def test_chunks_of_another_client_keep_the_pace_as_well() -> None:
    with pytest.raises(RemoteError, match="only 3 bytes of the body came in 30 seconds"):
        list(paced(itertools.repeat(b"x"), "http://host/x", hurried(10)()))
    quick = paced(iter([bytes(100_000)] * 10), "http://host/x", hurried(10)())
    assert len(list(quick)) == 10


ADDRESSES = {
    "http://me:PW@host/x": "http://host/x",
    "http://PW@host/x?PW#PW": "http://host/x",
    "http:/me:PW@host:80/x?PW": "http://host:80/x",
    "HTTPS://me:PW@[::1]:80/x?PW": "HTTPS://[::1]:80/x",
    "http://me:PW/PW@host/x": "http://…",
    "http://me:PW?PW@host/x": "http://…",
    "http://me:PW#PW@host/x": "http://…",
    "http://me:P@PW@host/x": "http://…",
    "http://me:1?PW@host/x": "http://…",
    "http://me:PW@host:PW/x": "http://…",
    "http://me:PW@[::1/x": "http://…",
    "http://host/@scope/x?email=PW@host": "http://host/@scope/x",
    "http://": "http://…",
    "./http:/x@y?z": "./http:/x@y?z",
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_is_shown_without_what_is_secret(address: str) -> None:
    assert shown(address) == ADDRESSES[address]


@pytest.mark.parametrize("address", [address for address in ADDRESSES if "PW" in address])
def test_no_command_shows_a_password(address: str, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    address = address.replace("host", "127.0.0.1:9")  # nothing listens there
    data = tmp_path / "data.csv"
    data.write_text("text,label\n" + "".join(f"word {number},{number % 2}\n" for number in range(24)))
    for arguments in (
        ["diff", address, str(BASE)],
        ["diff", str(BASE), address, "--format", "json"],
        ["check", address, address],
        ["diff", address, str(BASE), "--biases-only"],
        ["distance", address, "--data", str(data)],
        ["distance", sample.base_path(), "--data", address],
        ["recommend", address, "--data", str(data)],
        ["patch", "verify", address, address],
        ["report", address, address, "--out", str(tmp_path / "r.html")],
    ):
        assert _run([str(argument) for argument in arguments]) == 2, arguments
    told = "".join(capfd.readouterr())
    assert "PW" not in told
    assert "Traceback" not in told


def test_user_and_password_go_to_their_server_alone(tmp_path: Path) -> None:
    with serving({"/m.safetensors": BASE}) as there:

        def elsewhere(handler: Handler) -> bool:
            place = there.url.replace("127.0.0.1", "localhost") + "/m.safetensors"
            handler.answer(302, b"", Location=place)
            return True

        with serving({}, quirk=elsewhere) as here:
            address = here.url.replace("//", "//me:p%40ss@") + "/m.safetensors?key=SECRET"
            told = diff_to_json(bp.diff(address, BASE, biases_only=True))
        assert {request.token for request in here.log} == {"Basic " + base64.b64encode(b"me:p@ss").decode()}
        assert {request.token for request in there.log} == {None}
    assert json.loads(told)["base"]["path"] == f"{here.url}/m.safetensors"
    assert "SECRET" not in told
    assert "p%40ss" not in told


def test_a_redirect_that_is_not_followed_shows_no_query(tmp_path: Path) -> None:
    for place in (
        "ftp://host/x?SECRET",
        "http://me:SECRET@127.0.0.1:9/x?SECRET",
        "file:///etc/passwd?SECRET",
    ):

        def away(handler: Handler, place: str = place) -> bool:
            handler.answer(302, b"", Location=place)
            return True

        with serving({}, quirk=away) as server, pytest.raises(BitfitProbeError) as caught:
            bp.open_checkpoint(f"{server.url}/m.safetensors")
        assert caught.value.code == "BE115"
        assert "SECRET" not in str(caught.value)


def test_words_of_an_exception_are_not_repeated() -> None:
    error = ValueError("can't open http://me:SECRET@host")
    error.__cause__ = ConnectionRefusedError(111, "Connection refused")
    told = str(unanswered(error, "http://me:SECRET@host/x?SECRET"))
    assert "no answer (Connection refused)" in told
    assert "SECRET" not in told
    bare = str(unanswered(ValueError("http://me:SECRET@host"), "http://me:SECRET@host"))
    assert "no answer (ValueError)" in bare
    assert "SECRET" not in bare
