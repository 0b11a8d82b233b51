"""What a trial has done already, a line a run, so that an interrupted one goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bitfit_probe.errors import OutputError
from bitfit_probe.outputs import append_line, made_folder
from bitfit_probe.recommendation.trial.run import Finished, Pace
from bitfit_probe.records.recommendation import TrialRun

__all__ = ["JOURNAL", "Journal"]

#: Its file's name.
JOURNAL = "trial.jsonl"


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
        self.path = folder / JOURNAL
        self._fingerprint = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        try:
            # Before an hour is spent on what can't be kept.
            with made_folder(folder), self.path.open("a+b"):
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
            append_line(self.path, json.dumps(row))
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
