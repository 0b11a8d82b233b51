"""Write what commands print into the pages that show it.

    python -m docs.outputs

A block under ``<!-- output: COMMAND -->`` holds what ``bitfit-probe COMMAND`` prints in a folder with the
repository's ``bitfit_probe`` and a broken fine-tune in ``case``.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from benchmarks import broken
from bitfit_probe.cli import cli

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"(?P<head><!-- output: (?P<command>[^\n]+) -->\n```text\n)(?P<output>.*?)```", re.DOTALL)


@contextlib.contextmanager
def folder() -> Iterator[None]:
    """The folder that the commands run in."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        Path(name, "bitfit_probe").symlink_to(ROOT / "bitfit_probe")
        broken.write(Path(name, "case"))
        os.chdir(name)
        try:
            yield
        finally:
            os.chdir(before)


def printed(command: str) -> str:
    """What `command` prints into 80 columns."""
    out = io.StringIO()
    with (
        mock.patch.dict(os.environ, {"COLUMNS": "80"}),
        contextlib.redirect_stdout(out),
        contextlib.suppress(SystemExit),
    ):
        cli.main(shlex.split(command), standalone_mode=False)
    return out.getvalue()


def main() -> None:
    """Refresh every block of every page."""
    with folder():
        for page in sorted((ROOT / "docs").glob("*.md")):
            text = page.read_text("utf-8")
            fresh = BLOCK.sub(lambda found: f"{found['head']}{printed(found['command'])}```", text)
            if fresh != text:
                page.write_text(fresh, encoding="utf-8")
                print(f"wrote {page.name}", file=sys.stderr)


if __name__ == "__main__":
    main()
