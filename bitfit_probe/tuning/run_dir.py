"""Where a run works, and how its result appears: whole, in one rename, never over something else."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from bitfit_probe.checkpoint.interface import read_json
from bitfit_probe.checkpoint.trainer_state import TRAINER_STATE
from bitfit_probe.errors import BitfitProbeError, OutputError, OverwriteError, SettingsError
from bitfit_probe.outputs import (
    cannot_write,
    held_folder,
    made_folder,
    publish_folder,
    refuse_taken,
    told_as_output,
)

__all__ = ["CARD", "Workplace"]

CARD = "run_card.json"
_IDENTITY = "run.json"
#: Libraries in Rust end their messages with the system's number; torch names its writer.
_FAILED_WRITE = re.compile(r"\(os error \d+\)|PytorchStreamWriter|inline_container")


class Workplace:
    """A directory beside `out` for checkpoints and the result in the making.

    Used as a context manager. A run that can't be done leaves nothing behind; one that is interrupted after
    its first checkpoint can be resumed.

    Parameters
    ----------
    out
        The directory that the result becomes.
    identity
        What makes two runs the same one: base, data and settings.
    resume
        Go on with an interrupted run, or take a finished one as it is.

    Raises
    ------
    OverwriteError
        Something lies in `out` already.
    OutputError
        An interrupted run lies there and `resume` was not asked for; another run is at work there; or nothing
        can be written there.
    SettingsError
        What lies there is another run.
    """

    def __init__(self, out: Path, identity: Mapping[str, Any], *, resume: bool) -> None:
        self.out = out
        self._home = out.parent / f".{out.name}.partial"
        self.checkpoints = self._home / "checkpoints"
        self.result = self._home / "result"
        self.finished = self._is_finished(identity, resume)
        with contextlib.ExitStack() as undone:
            if not self.finished:
                self._open(identity, resume, undone)
            self._open_things = undone.pop_all()

    def _is_finished(self, identity: Mapping[str, Any], resume: bool) -> bool:
        try:
            with told_as_output(self.out):
                refuse_taken(self.out)
        except OverwriteError:
            card = read_json(self.out / CARD) or {}
            if card and not self.result.exists():  # killed between the result's name and the last tidying
                shutil.rmtree(self._home, ignore_errors=True)
            if not resume:
                raise
            if card.get("run") == dict(identity):
                return True
            what = "is another run's or something else's"
            raise OverwriteError(what, advice="choose another directory", path=self.out) from None
        return False

    def _open(self, identity: Mapping[str, Any], resume: bool, undone: contextlib.ExitStack) -> None:
        with told_as_output(self.out):
            undone.enter_context(made_folder(self._home))
            undone.enter_context(held_folder(self._home, self.out))
            going_on = self.last_checkpoint() is not None
            if going_on:
                self._check_same(identity, resume)
            undone.push(self._tidy)
            if not going_on:  # new, or killed before there was anything to go on with
                for path in self._home.iterdir():
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
                (self._home / _IDENTITY).write_text(json.dumps(identity, indent=1), encoding="utf-8")
            shutil.rmtree(self.result, ignore_errors=True)
            self.result.mkdir()

    def _check_same(self, identity: Mapping[str, Any], resume: bool) -> None:
        if not resume:
            raise OutputError(
                f"an interrupted run into it lies in {self._home}",
                advice="go on with it by --resume, or delete that directory",
                path=self.out,
            )
        before = read_json(self._home / _IDENTITY) or {}
        differing = sorted(key for key in {*before, *identity} if before.get(key) != identity.get(key))
        if differing:
            raise SettingsError(
                f"the interrupted run had other {' and '.join(differing)}",
                advice=f"give the same, or delete {self._home}",
                path=self.out,
            )

    def last_checkpoint(self) -> Path | None:
        """The newest whole checkpoint of the run, where there is one: its state is written last."""
        found = [
            path
            for path in self.checkpoints.glob("checkpoint-*")
            if path.name.rpartition("-")[2].isdecimal() and read_json(path / TRAINER_STATE)
        ]
        return max(found, key=lambda path: int(path.name.rpartition("-")[2]), default=None)

    def publish(self) -> None:
        """Give the result its name."""
        publish_folder(self.result, self.out)
        shutil.rmtree(self._home, ignore_errors=True)

    def __enter__(self) -> Workplace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open_things.__exit__(kind, error, trace)
        if error is not None and not isinstance(error, BitfitProbeError) and _is_of_writing(error):
            kept = self._home.is_dir()
            advice = f"make room, and go on from {self._home} by --resume" if kept else "make room"
            raise cannot_write(self.out, error, advice) from error

    def _tidy(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Leave nothing, unless there is a checkpoint to go on from."""
        hopeless = isinstance(error, BitfitProbeError) and not isinstance(error, OutputError)
        if hopeless or self.last_checkpoint() is None:
            shutil.rmtree(self._home, ignore_errors=True)


def _is_of_writing(error: BaseException) -> bool:
    """Whether an error of Python, safetensors, tokenizers or torch says that a file can't be written."""
    return isinstance(error, OSError) or bool(_FAILED_WRITE.search(str(error)))
