"""moto's S3 server on the loopback interface, with a count of what it is asked and sends."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["BUCKET", "Store", "store"]

BUCKET = "models"


@dataclass
class Store:
    """A server, and its log: method, path and bytes of each answer."""

    url: str
    log: list[tuple[str, str]] = field(default_factory=list)
    sent: int = 0

    def forget(self) -> None:
        self.log.clear()
        self.sent = 0

    def put(self, name: str, path: Path) -> None:
        self.client().upload_file(str(path), BUCKET, name)

    def put_folder(self, name: str, folder: Path) -> str:
        for path in sorted(folder.iterdir()):
            self.put(f"{name}/{path.name}", path)
        return f"s3://{BUCKET}/{name}"

    def place(self, name: str, folder: Path) -> None:
        """As `put_folder`, past HTTP: large files take minutes through it."""
        from moto.core import DEFAULT_ACCOUNT_ID
        from moto.s3.models import s3_backends

        for path in folder.iterdir():
            s3_backends[DEFAULT_ACCOUNT_ID]["aws"].put_object(
                BUCKET, f"{name}/{path.name}", path.read_bytes()
            )

    def client(self) -> Any:
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )


@contextlib.contextmanager
def store() -> Iterator[Store]:
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    found = Store("")
    inner = DomainDispatcherApplication(create_backend_app)

    def counted(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        found.log.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        for chunk in inner(environ, start):
            found.sent += len(chunk)
            yield chunk

    server = make_server("127.0.0.1", 0, counted, threaded=True)
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        found.client().create_bucket(Bucket=BUCKET)
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
