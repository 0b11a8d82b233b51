"""Fleets in which somebody dies, as processes of their own: `python dying.py WHO FLAG BASE TUNED…`.

``worker``: the first worker to judge anything kills itself. ``same``: whichever worker gets a checkpoint
called ``cursed`` kills itself. ``parent``: the process of the command kills itself after two rows.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from bitfit_probe.cli import main
from bitfit_probe.fleet import calls, judging, running

_real, _keep = judging.judge, calls.keep


def judge(base: str, tuned: str, options: dict[str, Any]) -> dict[str, Any]:
    if WHO == "worker" and not FLAG.exists():
        FLAG.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if WHO == "same" and "cursed" in tuned:
        os.kill(os.getpid(), signal.SIGKILL)
    return _real(base, tuned, options)


def keep(*args: Any) -> None:
    _keep(*args)
    FLAG.write_text(FLAG.read_text() + "x" if FLAG.exists() else "x")
    if WHO == "parent" and len(FLAG.read_text()) == 2:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    WHO, FLAG = sys.argv[1], Path(sys.argv[2])
    running.judge = judge
    if WHO == "parent":
        calls.keep = keep
    main(["fleet", "run", *sys.argv[3:]])
