"""``python -m bitfit_probe`` and the ``bitfit-probe`` command; Ctrl-C from the first import to the last."""

from __future__ import annotations

import os
import signal
import sys

__all__ = ["main"]

_INTERRUPTED = 130


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit with its status; Ctrl-C ends it with 130 at any moment."""
    presses: list[int] = []

    def interrupt(number: int, _: object) -> None:
        presses.append(number)
        raise KeyboardInterrupt

    try:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not told to ignore it (nohup)
            signal.signal(signal.SIGINT, interrupt)
            sys.unraisablehook = _unraisable
        from bitfit_probe.cli import run

        status = run(args, interrupted=lambda: bool(presses))
        if presses or signal.getsignal(signal.SIGINT) is interrupt:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # the status stands; what is left is to leave
    except BaseException:
        if not presses:
            raise
        _leave()  # the imports, or the very end, were interrupted
    sys.exit(status)


def _unraisable(problem: sys.UnraisableHookArgs) -> None:
    """Where Python can't pass a Ctrl-C on (a callback of the import system, say), end at once."""
    if problem.exc_type is KeyboardInterrupt:
        _leave()
    sys.__unraisablehook__(problem)


def _leave() -> None:
    try:
        os.write(2, b"interrupted\n")
    finally:
        os._exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
