"""The base's settings where config.json says otherwise, and the weights were not trained for that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from bitfit_probe.diagnosis.outcomes import Outcome
from bitfit_probe.diagnosis.step import Change, Step
from bitfit_probe.diagnosis.subject import Subject
from bitfit_probe.inference import LiveModel
from bitfit_probe.outputs import scratch_folder

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Rows = npt.NDArray[np.int64]

__all__ = ["steps"]

#: What a fine-tune changes on purpose, or what changes nothing that is computed.
_OURS = (
    "architectures",
    "dtype",
    "torch_dtype",
    "finetuning_task",
    "id2label",
    "label2id",
    "num_labels",
    "problem_type",
    "transformers_version",
    "use_cache",
    "vocab_size",
)


def steps(subject: Subject) -> Iterator[Step]:
    """One step, where the two files set something that is computed differently."""
    mine, base = subject.pair.tuned.config, subject.pair.base.config
    differing = {
        key: base[key]
        for key in base
        if key in mine
        and base[key] != mine[key]
        and key not in _OURS
        and not key.startswith("_")
        and "dropout" not in key
    }
    if not differing:
        return
    changes = ", ".join(f"{key} {_shown(mine[key])} → {_shown(value)}" for key, value in differing.items())

    @cache
    def other() -> LiveModel:
        with scratch_folder() as folder:
            (folder / "config.json").write_text(json.dumps({**mine, **differing}), encoding="utf-8")
            return LiveModel.of(subject.pair.tuned, folder, *subject.live.folders)

    def look(rows: Rows | None) -> Outcome:
        return subject.outcome(subject.run(rows, other()), rows)

    yield Step(
        "base-settings",
        "Take the base's settings",
        f"in config.json: {changes}",
        look,
        change=lambda: Change(config=differing),
    )


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 24 else f"{text[:23]}…"
