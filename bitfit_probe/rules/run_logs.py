"""What a run left beside its weights: the trainer's log, and which method it says it used."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.checkpoint.interface import read_json
from bitfit_probe.checkpoint.model_card import CARD
from bitfit_probe.checkpoint.trainer_state import TrainerState
from bitfit_probe.pair import Pair

__all__ = ["Method", "claimed_method", "trainer_state"]

Method = Literal["bitfit", "lora", "full"]

#: Files beside the weights in which trainers say what they trained; our own `tune` writes run.json.
_RUN_FILES = ("run.json", "training_config.json", "train_config.json", "config.json")
_METHOD_KEYS = ("method", "tuning_method", "peft_type", "finetuning_type", "train_method")
_BITFIT = re.compile(r"bit[-_ ]?fit|bias[-_ ]?only", re.IGNORECASE)


def trainer_state(pair: Pair) -> TrainerState:
    """The log of the tuned side's run; an empty one where there is none."""
    return pair.trainer_state or TrainerState()


def claimed_method(checkpoint: Checkpoint) -> tuple[Method, str] | None:
    """Which method the run says it used, and where it says so; None where it doesn't."""
    for file in _RUN_FILES:
        for text in _claims(checkpoint.folder / file):
            method = _method(text)
            if method:
                return method, file
    for tag in checkpoint.card.get("tags", ()):
        if method := _method(tag):
            return method, CARD
    # What was fetched lies in a folder of our own, whose name says nothing of the run.
    is_own = checkpoint.folder not in (checkpoint.path, checkpoint.path.parent)
    names = [checkpoint.path.name, *([] if is_own else [checkpoint.folder.name])]
    if any(map(_BITFIT.search, names)):
        return "bitfit", "its name"
    return None


def _claims(path: Path) -> tuple[str, ...]:
    settings = read_json(path) or {}
    return tuple(str(settings[key]) for key in _METHOD_KEYS if isinstance(settings.get(key), str))


def _method(text: str) -> Method | None:
    if _BITFIT.fullmatch(text):
        return "bitfit"
    return {"lora": "lora", "full": "full"}.get(text.lower())  # type: ignore[return-value]
