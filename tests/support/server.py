"""A loopback server that logs what it is asked for and what it sends; and one that plays the Hub."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

__all__ = ["COMMIT", "Server", "hub", "serving"]

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_BOUNDARY = "THIS_SEPARATES"


@dataclass
class Request:
    """One line of the server's log."""

    method: str
    path: str
    range: str | None
    token: str | None
    status: int = 0
    sent: int = 0


@dataclass
class Server:
    """What is served, how, and what was asked.

    Attributes
    ----------
    files
        Files by their path in the address.
    ranges
        ``several``: any number of ranges in a request; ``one``: the first one only; ``whole``: several ranges
        in a request are ignored; ``none``: all ranges are.
    quirk
        Called before each answer with the handler; it answers itself where it gives True.
    models
        Folders by the names that they have on the Hub.
    """

    files: dict[str, Path]
    ranges: str = "several"
    quirk: Callable[[Handler], bool] | None = None
    routes: list[tuple[re.Pattern[str], Callable[..., None]]] = field(default_factory=list)
    log: list[Request] = field(default_factory=list)
    url: str = ""
    models: dict[str, Path] = field(default_factory=dict)

    @property
    def sent(self) -> int:
        """Bytes of all bodies."""
        return sum(request.sent for request in self.log)


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD from `Server.files`."""

    protocol_version = "HTTP/1.1"
    shared: Server
    entry: Request
    gone = False

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        headers = self.headers
        self.entry = Request(self.command, path, headers.get("Range"), headers.get("Authorization"))
        self.shared.log.append(self.entry)
        if self.shared.quirk is not None and self.shared.quirk(self):
            return
        for pattern, answer in self.shared.routes:
            if match := pattern.fullmatch(path):
                answer(self, *match.groups())
                return
        file = self.shared.files.get(path)
        if file is None:
            self.answer(404, b"")
        else:
            self.send_file(file)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Nothing on stderr."""

    def answer(self, status: int, body: bytes, **headers: object) -> None:
        """A whole answer; keywords become headers."""
        self.begin(status, len(body), **headers)
        self.send(body)

    def begin(self, status: int, length: int, **headers: object) -> None:
        self.entry.status = status
        self.send_response(status)
        for name, value in {"Content_Length": length, **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def send(self, body: bytes) -> None:
        if self.command == "HEAD":
            return
        self.entry.sent += len(body)  # before the client can have it, who may look at once
        try:
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            self.entry.sent -= len(body)
            self.gone = self.close_connection = True

    def send_file(self, path: Path) -> None:
        """The file, or the ranges that are asked for and that `Server.ranges` lets it honour."""
        size, told = path.stat().st_size, {"ETag": f'"{etag(path)}"', "Accept_Ranges": "bytes"}
        ranges = self._ranges(size)
        if self.shared.ranges == "none" or (self.shared.ranges == "whole" and len(ranges) > 1):
            ranges = []
        if not ranges:
            self.begin(200, size, **told)
            self._send_pieces(path, 0, size)
            return
        if ranges[0][0] >= size:
            self.answer(416, b"", Content_Range=f"bytes */{size}")
            return
        if len(ranges) == 1 or self.shared.ranges == "one":
            start, stop = ranges[0]
            self.begin(206, stop - start, Content_Range=f"bytes {start}-{stop - 1}/{size}", **told)
            self._send_pieces(path, start, stop)
            return
        body = b"".join(self._part(path, start, stop, size) for start, stop in ranges)
        body += f"\r\n--{_BOUNDARY}--\r\n".encode()
        self.answer(206, body, Content_Type=f"multipart/byteranges; boundary={_BOUNDARY}", **told)

    def _ranges(self, size: int) -> list[tuple[int, int]]:
        found = re.findall(r"(\d+)-(\d+)", self.headers.get("Range", ""))
        return [(int(first), min(int(last) + 1, size)) for first, last in found]

    def _part(self, path: Path, start: int, stop: int, size: int) -> bytes:
        head = f"\r\n--{_BOUNDARY}\r\nContent-Range: bytes {start}-{stop - 1}/{size}\r\n\r\n".encode()
        return head + piece(path, start, stop)

    def _send_pieces(self, path: Path, start: int, stop: int) -> None:
        for at in range(start, stop, 1 << 20):
            if self.gone:
                return
            self.send(piece(path, at, min(at + (1 << 20), stop)))


def piece(path: Path, start: int, stop: int) -> bytes:
    with path.open("rb") as stream:
        stream.seek(start)
        return stream.read(stop - start)


def etag(path: Path) -> str:
    seen = path.stat()
    return hashlib.sha256(f"{path}{seen.st_size}{seen.st_mtime_ns}".encode()).hexdigest()


@contextmanager
def serving(files: dict[str, Path], **options: Any) -> Iterator[Server]:
    """A running server of `files`."""
    shared = Server(files, **options)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"shared": shared}))
    server.daemon_threads = True
    shared.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield shared
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def hub(models: dict[str, Path], **options: Any) -> Iterator[Server]:
    """A server with the addresses of the Hub that huggingface_hub uses, for models in folders.

    Large files (safetensors, bin) are redirected to other addresses, as the Hub does with those in its store.
    """
    with serving({}, models=models, **options) as shared:
        api = r"/api/models/([\w.-]+/[\w.-]+)"

        def info(handler: Handler, repo: str, revision: str | None = None) -> None:
            if repo not in models:
                handler.answer(401, b"{}", X_Error_Code="RepoNotFound")
            elif revision not in (None, "main", COMMIT):
                handler.answer(404, b"{}", X_Error_Code="RevisionNotFound")
            else:
                names = [{"rfilename": path.name} for path in sorted(models[repo].iterdir())]
                body = json.dumps({"id": repo, "sha": COMMIT, "siblings": names}).encode()
                handler.answer(200, body, Content_Type="application/json")

        def tree(handler: Handler, repo: str, _: str) -> None:
            entries = [
                {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": etag(path)[:40]}
                for path in sorted(models[repo].iterdir())
            ]
            handler.answer(200, json.dumps(entries).encode(), Content_Type="application/json")

        def resolve(handler: Handler, repo: str, _: str, name: str) -> None:
            path = models[repo] / name
            told = {"X_Repo_Commit": COMMIT, "X_Linked_ETag": f'"{etag(path)}"'}
            if path.suffix in (".safetensors", ".bin"):
                place = f"/store/{repo}/{name}"
                shared.files[place] = path
                elsewhere = shared.url.replace("127.0.0.1", "localhost")
                told |= {"Location": f"{elsewhere}{place}", "X_Linked_Size": path.stat().st_size}
                handler.answer(302, b"", **told)
            else:
                handler.answer(200, path.read_bytes(), ETag=f'"{etag(path)}"', **told)

        shared.routes += [
            (re.compile(api), info),
            (re.compile(rf"{api}/revision/([^/]+)"), info),
            (re.compile(rf"{api}/tree/([^/]+)"), tree),
            (re.compile(r"/([\w.-]+/[\w.-]+)/resolve/([^/]+)/([^/]+)"), resolve),
        ]
        yield shared
