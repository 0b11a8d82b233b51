"""Checkpoints of one run in order: how far the biases of each role were, and when they stopped."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.measures.delta_similarity import shared_biases
from bitfit_probe.pair import Pair
from bitfit_probe.records.measures import StepsFrom, Trajectory

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

__all__ = ["STILL", "order", "trajectory"]

#: A role has stopped once each of its moves is below this share of its path. A convention.
STILL = 0.01

_FOLDER = re.compile(r"checkpoint-(\d{1,15})")


def order(checkpoints: Sequence[Checkpoint]) -> tuple[tuple[int, ...], StepsFrom]:
    """The training step of each checkpoint, and how it is known.

    By ``global_step`` in trainer_state.json, else by a folder name such as ``checkpoint-500``, else by the
    order in which they were given, counted from 1. One way must give every checkpoint another step.
    """
    ways: tuple[tuple[StepsFrom, list[int | None]], ...] = (
        ("trainer_state.json", [_by_state(item) for item in checkpoints]),
        ("folder names", [_by_name(item) for item in checkpoints]),
    )
    for way, steps in ways:
        known = tuple(step for step in steps if step is not None)
        if len(known) == len(checkpoints) == len(set(known)):
            return known, way
    return tuple(range(1, len(checkpoints) + 1)), "order given"


def _by_state(checkpoint: Checkpoint) -> int | None:
    return checkpoint.trainer_state.steps if checkpoint.trainer_state is not None else None


def _by_name(checkpoint: Checkpoint) -> int | None:
    path = checkpoint.path.absolute()
    found = (_FOLDER.fullmatch(part) for part in (path.stem, path.name, path.parent.name))
    return next((int(match[1]) for match in found if match), None)


def trajectory(pairs: Sequence[Pair], *, still: float = STILL) -> Trajectory:
    """Follow the biases of each role through the checkpoints of one run, sorted by step.

    Over the biases that all checkpoints have, the key biases that softmax cancels left out. Values of one
    bias and two checkpoints at a time are in memory.

    Parameters
    ----------
    pairs
        Checkpoints of one run beside the same base.
    still
        A role has stopped once each of its moves is below this share of its whole path.
    """
    steps, steps_from = order([pair.tuned for pair in pairs])
    by_step = sorted(range(len(steps)), key=lambda number: steps[number])
    far: dict[str, Array] = {}
    for rows, tensors in shared_biases(pairs):
        squares = far.setdefault(rows[0].info.role or "other", np.zeros((2, len(steps))))
        base = last = tensors[0].base.values()
        for column, number in enumerate(by_step):
            now = tensors[number].tuned.values()
            squares[:, column] += _square(now, base), _square(now, last)
            last = now
    ordered = tuple(int(steps[number]) for number in by_step)
    norms, moves = ([tuple(map(math.sqrt, squares[side])) for squares in far.values()] for side in (0, 1))
    return Trajectory(
        steps=ordered,
        roles=tuple(far),
        norms=tuple(norms),
        moves=tuple(moves),
        stopped_at=tuple(_stopped(ordered, move, still) for move in moves),
        names=tuple(pairs[number].comparison.tuned.path for number in by_step),
        steps_from=steps_from,
    )


def _square(now: Array, then: Array) -> float:
    """‖now − then‖₂² over the elements that are finite in both."""
    with np.errstate(invalid="ignore"):
        delta = (now - then).reshape(-1)
    delta = delta[np.isfinite(delta)]
    return float(delta @ delta)


def _stopped(steps: Sequence[int], moves: Sequence[float], still: float) -> int | None:
    """The step after which every move was below `still` of the path; None if the last one was not."""
    least = still * sum(moves)
    moving = [number for number, move in enumerate(moves) if move >= least and move > 0]
    return steps[moving[-1]] if moving and moving[-1] < len(steps) - 1 else None
