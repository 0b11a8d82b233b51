"""What several rules look at: rows of the body, what the trainer logged, which method a run claims."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.checkpoint.interface import read_json
from bitfit_probe.records import TensorDelta
from bitfit_probe.rules.interface import Case

__all__ = [
    "Method",
    "body",
    "claimed_method",
    "figure",
    "is_the_base",
    "listed",
    "logged",
    "moved",
    "peak",
    "plural",
    "trainer_state",
]

Method = Literal["bitfit", "lora", "full"]

#: Files beside the weights in which trainers say what they trained; our own `tune` writes run.json.
_RUN_FILES = ("run.json", "training_config.json", "train_config.json", "config.json")
_METHOD_KEYS = ("method", "tuning_method", "peft_type", "finetuning_type", "train_method")
_BITFIT = re.compile(r"bit[-_ ]?fit|bias[-_ ]?only", re.IGNORECASE)


def body(case: Case, *kinds: str) -> list[TensorDelta]:
    """Rows outside head and buffers, of the given kinds where some are given."""
    wanted = set(kinds) or {"bias", "weight", "norm", "embedding"}
    return [row for row in case.comparison.tensors if row.info.kind in wanted]


def moved(rows: Iterable[TensorDelta]) -> list[TensorDelta]:
    """Those that changed by more than rounding."""
    return [row for row in rows if row.moved]


def is_the_base(case: Case) -> bool:
    """Whether body and head are those of the base, bit for bit, and nearly all of the base was compared."""
    same = case.comparison.verdict == "identical" and case.comparison.coverage.enough
    return same and case.comparison.summary.head not in ("changed", "new")


def peak(rows: Iterable[TensorDelta]) -> float | None:
    """The largest |Δ| in them."""
    return max((row.max_abs_delta for row in rows if row.max_abs_delta is not None), default=None)


def figure(value: float) -> str:
    """A number as people write it in a sentence."""
    return f"{value:.2g}"


def plural(count: int, one: str, many: str | None = None) -> str:
    """`count` with its noun."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def listed(names: Iterable[str], most: int = 3) -> str:
    """Some names for a sentence, and how many more there are."""
    every = list(names)
    rest = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + rest


# What the trainer says ----------------------------------------------------------------------------


def trainer_state(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """trainer_state.json beside the weights; empty where there is none."""
    return checkpoint.read_json("trainer_state.json") or {}


def logged(state: Mapping[str, Any], key: str) -> list[tuple[float, float]]:
    """(step, value) of each entry of the log that has a number under `key`, one a step."""
    history = state.get("log_history")
    found: dict[float, float] = {}
    for entry in history if isinstance(history, list) else ():
        if isinstance(entry, dict) and _number(entry.get("step")) and _number(entry.get(key)):
            found[float(entry["step"])] = float(entry[key])
    return sorted(found.items())


#: Beyond this a number in a log is none, and a whole one may not even fit a float.
_MOST = 1e300


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MOST


# What the run claims to be ------------------------------------------------------------------------


def claimed_method(checkpoint: Checkpoint) -> tuple[Method, str] | None:
    """Which method the run says it used, and where it says so; None where it doesn't."""
    for file in _RUN_FILES:
        for text in _claims(checkpoint.folder / file):
            method = _method(text)
            if method:
                return method, file
    if _BITFIT.search(checkpoint.path.name) or _BITFIT.search(checkpoint.folder.name):
        return "bitfit", "its name"
    return None


def _claims(path: Path) -> tuple[str, ...]:
    settings = read_json(path) or {}
    return tuple(str(settings[key]) for key in _METHOD_KEYS if isinstance(settings.get(key), str))


def _method(text: str) -> Method | None:
    if _BITFIT.fullmatch(text):
        return "bitfit"
    return {"lora": "lora", "full": "full"}.get(text.lower())  # type: ignore[return-value]
