"""Do a step for good: a new folder with what it changes, the rest as in the tuned one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitfit_probe.checkpoint.interface import read_json
from bitfit_probe.diagnosis.interventions import all_steps
from bitfit_probe.diagnosis.step import Change, Step
from bitfit_probe.diagnosis.subject import Subject
from bitfit_probe.errors import SettingsError
from bitfit_probe.inference.saving import save_model
from bitfit_probe.inference.tokenizer_files import tokenizer_files
from bitfit_probe.outputs import new_folder, told_as_output

__all__ = ["apply_step", "chosen_step"]

_CONFIG, _TOKENIZER = "config.json", "tokenizer_config.json"


def chosen_step(subject: Subject, name: str) -> Step:
    """The step of that name.

    Raises
    ------
    SettingsError
        There is none, or files can't hold it.
    """
    known = {step.name: step for step in all_steps(subject) if step.change is not None}
    if name not in known:
        raise SettingsError(f"{name!r} is no step that can be done here", advice=f"choose {', '.join(known)}")
    return known[name]


def apply_step(subject: Subject, step: Step, out: Path) -> None:
    """Write the tuned model with the step done.

    Raises
    ------
    OverwriteError
        `out` is there.
    OutputError
        It can't be written.
    """
    assert step.change is not None
    change = step.change()
    with new_folder(out) as folder, told_as_output(out):
        _weights(subject, change, folder)
        home = subject.pair.folder
        for path in tokenizer_files(change.tokenizer or home) or tokenizer_files(subject.pair.base.folder):
            shutil.copyfile(path, folder / path.name)
        _rewrite(folder / _CONFIG, {**(subject.pair.tuned.config or {}), **change.config})
        if change.tokenizer_config:
            known = read_json(folder / _TOKENIZER) or {}
            _rewrite(folder / _TOKENIZER, {**known, **change.tokenizer_config})


def _weights(subject: Subject, change: Change, folder: Path) -> None:
    stored = subject.half or "float32"
    save_model(subject.live, folder, change.tensors, str(change.config.get("dtype", stored)))


def _rewrite(path: Path, settings: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
