"""The run card: everything that it takes to judge a run, or to do it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from bitfit_probe.data import TaskData
from bitfit_probe.tuning.build import Built
from bitfit_probe.tuning.options import TuneOptions
from bitfit_probe.tuning.train import Task
from bitfit_probe.tuning.versions import versions
from bitfit_probe.tuning.watch import Sign

__all__ = ["FORMAT_VERSION", "Done", "Ready", "make_card"]

FORMAT_VERSION = 1
_MOVED = "bias_moved/"


class Ready(NamedTuple):
    """What training needs: options (with the rate that is used), model, data, and the trials of a search."""

    options: TuneOptions
    built: Built
    task: Task
    trials: list[dict[str, float]]


class Done(NamedTuple):
    """What is left of a training: the Trainer's state, what the watch saw, and the seconds it took."""

    state: Any
    signs: Sequence[Sign]
    seconds: float


def make_card(run: dict[str, Any], base: str, data: TaskData, ready: Ready, done: Done) -> dict[str, Any]:
    """The card as plain JSON values.

    Parameters
    ----------
    run
        The run's identity: digests of base and data, and the options that were asked for.
    base
        The base as the user named it.
    data
        All examples that were given.
    """
    state, built = done.state, ready.built
    return {
        "format_version": FORMAT_VERSION,
        "run": run,
        "base": base,
        "architecture": built.chosen.architecture.family,
        "objective": ready.task.objective,
        "data": _data(data, ready.task),
        "settings": ready.options.as_dict(),
        "class_weights": ready.task.weights,
        "trained": {
            "parameters": built.trained,
            "of": built.total,
            "by_role": built.by_role,
            "new": list(built.chosen.new),
        },
        "search": ready.trials,
        "curve": curve(state.log_history),
        "moved": _moved(state.log_history),
        "steps": state.global_step,
        "best_step": state.best_global_step,
        "result": _result(state),
        "signs": [asdict(sign) for sign in done.signs],
        "seconds": round(done.seconds, 1),
        "device": str(built.model.device),
        "versions": versions(),
    }


def _data(data: TaskData, task: Task) -> dict[str, Any]:
    return {
        "path": data.path,
        "examples": len(data),
        "trained_on": len(task.train),
        "held_out": len(task.held_out),
        "max_length": task.max_length,
        "cut_at_max_length": task.cut,
        "columns": vars(data.columns),
        "labels": list(data.label_names),
        "notes": list(data.notes),
    }


def curve(history: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Losses, rates and held-out figures by step, without how long each took."""
    rows: dict[int, dict[str, float]] = {}
    for entry in history:
        if "train_runtime" in entry:
            continue
        row = rows.setdefault(entry["step"], {"step": entry["step"]})
        row |= {
            key.replace("eval_", "held_out_"): value
            for key, value in entry.items()
            if not key.endswith(("_runtime", "_per_second")) and not key.startswith(_MOVED)
        }
    return [rows[step] for step in sorted(rows)]


def _moved(history: list[dict[str, Any]]) -> dict[str, float]:
    """How far the trained biases were at the last log, mean |Δb| by role and layer."""
    last: dict[str, Any] = next(
        (entry for entry in reversed(history) if any(key.startswith(_MOVED) for key in entry)), {}
    )
    return {key.removeprefix(_MOVED): value for key, value in last.items() if key.startswith(_MOVED)}


def _result(state: Any) -> dict[str, float]:
    """The held-out figures of the weights that were kept."""
    rows = [row for row in curve(state.log_history) if "held_out_loss" in row]
    best = [row for row in rows if row["step"] == state.best_global_step] or rows[-1:]
    return {key: value for row in best for key, value in row.items() if key.startswith("held_out_")}
