"""Runs a command again and again, each time killed one step later, and says what that left.

A program of its own: ``python dying.py FOLDER COMMAND…``. It forks a child for every run, whose n-th call to
the system that changes something on the disk is a SIGKILL instead. It prints a JSON object a kill: what
lies there after it, and after the command ran once more.
"""

from __future__ import annotations

import builtins
import hashlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

STEPS = ("open", "mkdir", "link", "replace", "rename", "unlink", "rmdir", "fsync")
READING = os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_BINARY", 0)


def kill_at(moment: int) -> None:
    """Let the n-th step end the process."""
    seen, opens = 0, os.open

    def counted(step: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal seen
            if step is opens and not args[1] & ~READING:
                return step(*args, **options)
            seen += 1
            if seen == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(*args, **options)

        return call

    for name in STEPS:
        setattr(os, name, counted(getattr(os, name)))


def run(command: list[str], moment: int = 0) -> int:
    """The status of a forked run; negative where it was killed."""
    child = os.fork()
    if not child:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        kill_at(moment)
        from bitfit_probe.cli import main

        try:
            main(command)
        except SystemExit as ended:
            os._exit(ended.code if isinstance(ended.code, int) else 0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def content(folder: Path, before: set[Path]) -> dict[str, str]:
    """What came to lie in `folder`, with a hash of each file."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in sorted(set(folder.rglob("*")) - before)
    }


def main() -> None:
    folder, command = Path(sys.argv[1]), sys.argv[2:]
    import bitfit_probe.api.report
    import bitfit_probe.cli
    import bitfit_probe.tuning.patch  # noqa: F401 (what children need not import again)

    os.chdir(folder)
    before = set(folder.rglob("*"))
    moment = 0
    while True:
        moment += 1
        status = run(command, moment)
        after, again = content(folder, before), None
        if status < 0:
            again = [run(command), content(folder, before)]
        builtins.print(json.dumps({"status": status, "after": after, "again": again}), flush=True)
        if status >= 0:
            return
        for path in sorted(set(folder.rglob("*")) - before):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
