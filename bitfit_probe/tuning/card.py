"""The run card: everything that it takes to judge a run, or to do it again."""

from __future__ import annotations

from typing import Any

from bitfit_probe.data import TaskData
from bitfit_probe.tuning.build import Built
from bitfit_probe.tuning.settings import Settings
from bitfit_probe.tuning.train import Task
from bitfit_probe.tuning.versions import versions

__all__ = ["FORMAT_VERSION", "make_card"]

FORMAT_VERSION = 1
_MOVED = "bias_moved/"


def make_card(
    *,
    run: dict[str, Any],
    base: str,
    data: TaskData,
    settings: Settings,
    built: Built,
    task: Task,
    state: Any,
    search: list[dict[str, float]],
    signs: list[dict[str, Any]],
    seconds: float,
) -> dict[str, Any]:
    """The card as plain JSON values.

    Parameters
    ----------
    run
        The run's identity: digests of base and data, and the settings that were asked for.
    state
        Trainer's state after training.
    """
    return {
        "format_version": FORMAT_VERSION,
        "run": run,
        "base": base,
        "architecture": built.chosen.architecture.family,
        "objective": task.objective,
        "data": {
            "path": data.path,
            "examples": len(data),
            "trained_on": len(task.train),
            "held_out": len(task.held_out),
            "max_length": task.max_length,
            "cut_at_max_length": task.cut,
            "columns": vars(data.columns),
            "labels": list(data.label_names),
            "notes": list(data.notes),
        },
        "settings": settings.as_dict(),
        "class_weights": task.weights,
        "trained": {
            "parameters": built.trained,
            "of": built.total,
            "by_role": built.by_role,
            "new": list(built.chosen.new),
        },
        "search": search,
        "curve": curve(state.log_history),
        "moved": _moved(state.log_history),
        "steps": state.global_step,
        "best_step": state.best_global_step,
        "result": _result(state),
        "signs": signs,
        "seconds": round(seconds, 1),
        "device": str(built.model.device),
        "versions": versions(),
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
