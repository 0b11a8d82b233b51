"""Where results go, stdout or a file; and the progress bar."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from bitfit_probe.cli.streams import say
from bitfit_probe.outputs import Content, write_files

__all__ = ["STAGES", "ProgressBar", "ProgressBars", "colours", "deliver", "one_blas_thread", "terminal_width"]

_WIDEST = 120

#: What the stages of `bitfit_probe.report` are called.
STAGES = {
    "comparing": "comparing",
    "spectra": "singular values",
    "trying": "trying steps",
    "reverting": "putting biases back",
    "reach": "measuring",
}


def one_blas_thread() -> None:
    """Keep BLAS from starting threads of its own beside ours; works only before numpy is imported."""
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def terminal_width() -> int:
    """Columns to use: the terminal's, at most 120; 80 where there is none."""
    return max(min(shutil.get_terminal_size((80, 24)).columns, _WIDEST), 40)


def colours() -> bool:
    """Whether stdout takes colours: a terminal, and NO_COLOR (no-color.org) is not set."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def deliver(
    text: str, out: Path | None, inputs: Iterable[Path], figures: Iterable[tuple[Path, bytes]] = ()
) -> None:
    """Print `text`, or write it to `out`; figures go to files of their own, which appear together with it."""
    files: list[tuple[Path, Content]] = [*figures]
    if out is not None:
        files.append((out, text))
    write_files(files, inputs)
    if out is None:
        say(text)


class ProgressBar:
    """A bar on stderr once the work has taken a second; nothing in pipes.

    Used as a context manager; calling it reports the bytes done and to do.
    """

    def __init__(self, label: str, *, quiet: bool) -> None:
        self._label = label
        self._shown = not quiet and sys.stderr.isatty()
        self._start, self._done = time.monotonic(), 0
        self._bar: Any = None

    def __enter__(self) -> ProgressBar:
        return self

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` bytes of `total` are done."""
        if not self._shown:
            return
        if self._bar is None and time.monotonic() - self._start > 1:
            self._bar = click.progressbar(length=total, label=self._label, file=sys.stderr)
            self._bar.__enter__()
            self._done = 0
        if self._bar is not None:
            self._bar.update(done - self._done)
            self._done = done

    def __exit__(self, *problem: object) -> None:
        if self._bar is not None:
            self._bar.__exit__(*problem)


class ProgressBars:
    """A bar for one stage after the other, as `ProgressBar` is one; stages without a label show none.

    Parameters
    ----------
    labels
        What to call each stage. A stage ``name: what`` is called as ``name`` is, with what it is about.
    """

    def __init__(self, labels: Mapping[str, str], *, quiet: bool) -> None:
        self._labels, self._quiet = labels, quiet
        self._stage, self._bar = "", ProgressBar("", quiet=True)

    def __enter__(self) -> ProgressBars:
        return self

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that the part `done` of `total` of a stage is done."""
        name, _, about = stage.partition(": ")
        if name not in self._labels:
            return
        if stage != self._stage:
            self._bar.__exit__()
            label = f"{self._labels[name]} {about}".rstrip()
            self._stage, self._bar = stage, ProgressBar(label, quiet=self._quiet)
        self._bar(done, total)

    def __exit__(self, *problem: object) -> None:
        self._bar.__exit__(*problem)
