"""What a trial has done already, a line a run, so that an interrupted one goes on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bitfit_probe.errors import OutputError
from bitfit_probe.recommend.trial_runs import Finished, Pace
from bitfit_probe.records.recommendation import TrialRun

__all__ = ["Journal"]


class Journal:
    """Finished runs in a file of JSON lines, each with the fingerprint of its trial.

    Parameters
    ----------
    folder
        Where ``trial.jsonl`` lies or is made.
    identity
        What two trials must have in common to share runs. Lines of others are left alone.

    Raises
    ------
    OutputError
        Nothing can be read or written there.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.path = folder / "trial.jsonl"
        self._fingerprint = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b"):  # before an hour is spent on what can't be kept
                pass
        except OSError as error:
            raise self._unusable(error) from error

    def finished(self) -> list[Finished]:
        """The runs of this trial, in the order in which they were made."""
        try:
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as error:
            raise self._unusable(error) from error
        found = (self._read(line) for line in lines)
        return [item for item in found if item is not None]

    def append(self, done: Finished) -> None:
        """Keep a run for good."""
        row = {
            "fingerprint": self._fingerprint,
            "run": asdict(done.run),
            "values": done.values,
            "pace": done.pace,
        }
        try:
            with self.path.open("a+b") as stream:
                # A line that was cut off by an interruption is closed, and stays alone.
                stream.seek(max(0, stream.seek(0, os.SEEK_END) - 1))
                torn = stream.read(1) not in (b"", b"\n")
                stream.write(b"\n" * torn + json.dumps(row).encode() + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise self._unusable(error) from error

    def _read(self, line: str) -> Finished | None:
        """A line as a run; None where it is another trial's or cut off."""
        try:
            row = json.loads(line)
            if row["fingerprint"] != self._fingerprint:
                return None
            return Finished(TrialRun(**row["run"]), tuple(row["values"]), Pace(*row["pace"]))
        except (ValueError, KeyError, TypeError):
            return None

    def _unusable(self, error: OSError) -> OutputError:
        return OutputError(
            f"can't be used ({error.strerror})", advice="choose another directory", path=self.path
        )
