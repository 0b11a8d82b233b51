"""Another checkpoint at hand, or the average of some: steps of the same run, other tuned models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.diagnosis.outcomes import Outcome
from bitfit_probe.diagnosis.step import Change, Step
from bitfit_probe.diagnosis.subject import BODY, Subject
from bitfit_probe.errors import BitfitProbeError
from bitfit_probe.inference.weights import Window, overlaid, plainly_named, windows

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Rows = npt.NDArray[np.int64]

__all__ = ["steps"]

#: Of the steps of a run, so many are tried: the last ones.
_MOST = 6


def steps(subject: Subject) -> Iterator[Step]:
    """A step a checkpoint, and their average with the tuned model where there are any."""
    found = {path: others for path in _at_hand(subject) if (others := _windows(subject, path))}
    for path, others in found.items():
        yield _step(
            subject,
            f"checkpoint-{path.name.removeprefix('checkpoint-')}",
            f"Take {path.name} instead",
            f"the weights of {path.name} take the place of these",
            others,
        )
    if found:
        yield _step(
            subject,
            "average",
            "Average the checkpoints",
            f"every tensor becomes the mean of this and {len(found)} other checkpoints",
            _average(list(found.values())),
        )


def _at_hand(subject: Subject) -> list[Path]:
    """The ``checkpoint-*`` folders in or beside the tuned one, and further tuned checkpoints."""
    home = subject.pair.folder
    places = [home, home.parent] if home.name.startswith("checkpoint-") else [home]
    run = sorted(
        {path for place in places for path in place.glob("checkpoint-*") if path.is_dir() and path != home},
        key=lambda path: (len(path.name), path.name),
    )
    return [*run[-_MOST:], *(path for path in subject.siblings if path.resolve() != home.resolve())]


def _windows(subject: Subject, path: Path) -> list[Window]:
    """The values of another checkpoint that differ from the tuned model's; none where it is another kind."""
    try:
        other = plainly_named(open_checkpoint(path))
        found = windows(other, subject.live.model, (*BODY, "head"))
    except BitfitProbeError:
        return []
    covered = {window.parameter for window in found.values()}
    if covered != {name for name, _ in subject.live.model.named_parameters()}:
        return []
    return [window for window in found.values() if window.differs]


def _average(found: Sequence[Sequence[Window]]) -> list[Window]:
    """Per window the mean of the tuned model's values and those of each checkpoint that differs there."""
    sums: dict[tuple[str, int], list[Window]] = {}
    for windows_ in found:
        for window in windows_:
            sums.setdefault((window.parameter, window.offset), []).append(window)
    count = len(found) + 1
    return [
        replace(
            same[0],
            values=(sum(window.values for window in same) + same[0].view * (count - len(same))) / count,
        )
        for same in sums.values()
    ]


def _step(subject: Subject, name: str, title: str, how: str, others: list[Window]) -> Step:
    def look(rows: Rows | None) -> Outcome:
        with overlaid(others):
            return subject.outcome(subject.run(rows), rows)

    return Step(name, title, how, look, change=lambda: Change(tensors=subject.tensors_of(others)))
