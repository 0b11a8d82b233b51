"""Readings: where a number lies among real tasks, whose figures ship with the package."""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources

__all__ = ["known_tasks", "reading"]

#: Measures of which more means nearer, and those of which more means farther.
_NEARER = frozenset({"linear_probe"})
_FARTHER = frozenset({"proxy_a_distance", "tokens_per_word", "unknown_share"})


@cache
def known_tasks() -> dict[str, dict[str, float]]:
    """Measured values by measure and task, from ``reference_tasks.csv`` (``benchmarks/distances.py``)."""
    file = resources.files(__package__).joinpath("reference_tasks.csv")
    out: dict[str, dict[str, float]] = {}
    if not file.is_file():
        return out
    for row in csv.DictReader(file.read_text(encoding="utf-8").splitlines()):
        if row["value"]:
            out.setdefault(row["measure"], {})[row["task"]] = float(row["value"])
    return out


def reading(measure: str, value: float) -> str | None:
    """``near``, ``middling`` or ``far``: the third of the known tasks that the value falls into.

    None for measures whose scale differs from model to model, and where no table is there.
    """
    values = sorted(known_tasks().get(measure, {}).values())
    if not values or measure not in _NEARER | _FARTHER:
        return None
    below = sum(known < value for known in values) / len(values)
    if measure in _NEARER:
        below = 1 - below
    return "near" if below < 1 / 3 else "middling" if below < 2 / 3 else "far"
