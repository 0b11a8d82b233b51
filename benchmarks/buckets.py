"""How many bytes and requests a diff of biases takes from a bucket, by the log of moto's S3 server.

    python -m benchmarks.buckets [--write FILE]

The pair has the names and shapes of the multilingual BERT-base, 0.7 GB a file, and lies in a server on the
loopback interface, which reads an object whole for each range. The command runs as a user would run it; what
it prints without credentials, with wrong ones and for an absent key is printed too.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from support.s3 import BUCKET, Store, store

from benchmarks.remote import BERTS, PAIR, put_between, sparse_model

MARKS = "<!-- buckets -->", "<!-- end of buckets -->"
NAME = "multilingual BERT-base"
HEAD = (
    "| pair | bytes in two files | requests | bytes sent | share | seconds |",
    "|---|---:|---:|---:|---:|---:|",
)
SECRET = {"AWS_ACCESS_KEY_ID": "AKIAWRONG", "AWS_SECRET_ACCESS_KEY": "not-to-be-shown"}
RIGHT = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}


def diff(server: Store, base: str, tuned: str, keys: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """`diff --biases-only` as a process that has these credentials and no others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    place = {"AWS_ENDPOINT_URL": server.url, "AWS_DEFAULT_REGION": "us-east-1"}
    none = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    command = [sys.executable, "-m", "bitfit_probe", "diff", base, tuned, "--biases-only", "--top", "0"]
    return subprocess.run(
        command, capture_output=True, text=True, env={**kept, **place, **none, **keys}, check=False
    )


def check_credentials(server: Store, after: int) -> None:
    """Let the server check credentials after so many more requests."""
    asked = urllib.request.Request(
        f"{server.url}/moto-api/reset-auth", str(after).encode(), {"Content-Type": "text/plain"}
    )
    urllib.request.urlopen(asked, timeout=60).close()


def measured(server: Store, scratch: Path) -> list[str]:
    """The table's lines, after the pair was put there."""
    total = 0
    for side, fill in PAIR:
        folder = sparse_model(scratch / side, fill, BERTS[NAME])
        total += (folder / "model.safetensors").stat().st_size
        server.place(side, folder)
    addresses = [f"s3://{BUCKET}/{side}" for side, _ in PAIR]
    server.forget()
    start = time.perf_counter()
    done = diff(server, *addresses, RIGHT)
    seconds = time.perf_counter() - start
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    share = 100 * server.sent / total
    line = f"| {NAME} | {total:,} | {len(server.log):,} | {server.sent:,} | {share:.3f} % | {seconds:.1f} |"
    return [*HEAD, line]


def refusals(server: Store) -> None:
    """Print what is said where nothing can be had, and hold it against what must not be shown."""
    base, tuned = (f"s3://{BUCKET}/{side}" for side, _ in PAIR)
    said = [diff(server, f"{base}/absent.safetensors", tuned, RIGHT), diff(server, base, tuned, {})]
    check_credentials(server, 0)
    said.append(diff(server, base, tuned, SECRET))
    check_credentials(server, 10**9)
    for done in said:
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        assert not any(value in done.stderr for value in SECRET.values())
        print(done.stderr, end="")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, help="also put the table into this page, between its marks")
    options = parser.parse_args()
    with store() as server, tempfile.TemporaryDirectory() as scratch:
        lines = measured(server, Path(scratch))
        print("\n".join(lines))
        refusals(server)
    if options.write:
        put_between(options.write, MARKS, lines)


if __name__ == "__main__":
    main()
