"""Where a run works, and how its result appears: whole, in one rename, never over something else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitfit_probe.checkpoint.interface import read_json
from bitfit_probe.errors import BitfitProbeError, OutputError, OverwriteError, SettingsError

__all__ = ["CARD", "Workplace"]

CARD = "run_card.json"
_IDENTITY = "run.json"


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
        An interrupted run lies there and `resume` was not asked for; or nothing can be written there.
    SettingsError
        What lies there is another run.
    """

    def __init__(self, out: Path, identity: Mapping[str, Any], *, resume: bool) -> None:
        self.out = out
        self._home = out.parent / f".{out.name}.partial"
        self.checkpoints = self._home / "checkpoints"
        self.result = self._home / "result"
        self.finished = self._is_finished(identity, resume)
        if not self.finished:
            self._open(identity, resume)

    def _is_finished(self, identity: Mapping[str, Any], resume: bool) -> bool:
        if not self.out.exists() or (self.out.is_dir() and not any(self.out.iterdir())):
            return False
        card = read_json(self.out / CARD) or {}
        if resume and card.get("run") == dict(identity):
            return True
        what = "is another run's or something else's" if resume else "is there already"
        raise OverwriteError(what, advice="choose another directory", path=self.out)

    def _open(self, identity: Mapping[str, Any], resume: bool) -> None:
        try:
            if self._home.exists():
                self._check_same(identity, resume)
            else:
                self._home.mkdir(parents=True)
                (self._home / _IDENTITY).write_text(json.dumps(identity, indent=1), encoding="utf-8")
            shutil.rmtree(self.result, ignore_errors=True)
            self.result.mkdir()
        except OSError as error:
            raise OutputError(
                f"can't be written ({error.strerror})",
                advice="check the directory and its space",
                path=self.out,
            ) from error

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
        """The newest whole checkpoint of the run, where there is one."""
        found = [
            path for path in self.checkpoints.glob("checkpoint-*") if (path / "trainer_state.json").is_file()
        ]
        return max(found, key=lambda path: int(path.name.rpartition("-")[2]), default=None)

    def publish(self) -> None:
        """Give the result its name."""
        try:
            for path in self.result.iterdir():
                if path.is_file():  # safetensors writes for the owner only
                    path.chmod(0o644)
            self.result.replace(self.out)
        except OSError as error:
            raise OutputError(
                f"can't be written ({error.strerror})",
                advice=f"the result is in {self.result}",
                path=self.out,
            ) from error
        shutil.rmtree(self._home)

    def __enter__(self) -> Workplace:
        return self

    def __exit__(self, kind: type[BaseException] | None, *problem: object) -> None:
        hopeless = kind is not None and issubclass(kind, BitfitProbeError) and kind is not OutputError
        if not self.finished and (hopeless or self.last_checkpoint() is None):
            shutil.rmtree(self._home, ignore_errors=True)
