"""Whether it was trained enough, and how far each role was at each step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bitfit_probe.records.measures import Adequacy, State, Trajectory
from bitfit_probe.records.report import Run
from bitfit_probe.rendering.document.blocks import Chart, Column, Curve, Table, Text
from bitfit_probe.rendering.figures import measure
from bitfit_probe.rendering.subjects.tables import cut_table
from bitfit_probe.rendering.words import sentence

if TYPE_CHECKING:
    from bitfit_probe.records.measures import Adequacy, Trajectory
    from bitfit_probe.rendering.charts import Panel

__all__ = ["LONG_ENOUGH", "adequacy_text", "curves", "trajectory_chart"]

#: What a run's length comes to, as an answer to "trained long enough?".
LONG_ENOUGH: dict[State, str] = {
    "untrained": "not trained",
    "under-trained": "too little",
    "healthy": "nothing speaks against it",
    "blown-up": "it blew up",
    "decayed": "it only decayed",
    "impossible": "its log does not allow what is here",
    "inconclusive": "can't tell",
}


def adequacy_text(adequacy: Adequacy) -> Text:
    """One sentence on the length of the training."""
    reasons = f": {'; '.join(adequacy.reasons)}" if adequacy.reasons else ""
    return Text(f"Trained long enough? {sentence(LONG_ENOUGH[adequacy.state])}{reasons}.")


def curves(key: str, run: Run) -> Iterator[Curve]:
    """Losses and the learning rate over the steps, where a log holds at least two of them."""
    losses = (("training loss", run.losses), ("held-out loss", run.eval_losses))
    drawn = tuple((name, points) for name, points in losses if len(points) > 1)
    if drawn:
        yield Curve(f"{key}-loss", "Loss by training step.", "step", "loss", drawn)
    if len(run.rates) > 1:
        lines = (("learning rate", run.rates),)
        yield Curve(f"{key}-rate", "Learning rate by training step.", "step", "learning rate", lines)


def trajectory_chart(trajectory: Trajectory, caption: str = "") -> Chart:
    """How far the biases of each role are from the base, by training step."""

    def draw() -> Panel | None:
        from bitfit_probe.rendering.charts import trajectory_lines

        return trajectory_lines(trajectory)

    return Chart("trajectory", draw, caption, (_table(trajectory),))


def _table(found: Trajectory) -> Table:
    norms = measure("norms")
    ranks = _spread(len(found.steps))
    columns = (
        Column("role", "words"),
        *(Column(f"{step:,}", rank=rank) for step, rank in zip(found.steps, ranks, strict=True)),
        Column("stopped"),
    )
    order = sorted(range(len(found.roles)), key=lambda number: -found.norms[number][-1])
    rows = [(found.roles[at], *map(norms.text, found.norms[at]), _stopped(found, at)) for at in order]
    caption = f"Bias norm {norms.label} by role and step (steps: {found.steps_from})"
    return cut_table("trajectory-numbers", caption, columns, rows)


def _stopped(found: Trajectory, at: int) -> str:
    stop = found.stopped_at[at]
    if stop is not None:
        return f"{stop:,}"
    return "no" if any(found.moves[at]) else "never moved"


def _spread(count: int) -> list[int]:
    """Ranks that leave the first and the last step and, where some go, others evenly between.

    >>> _spread(9)
    [0, 3, 2, 3, 1, 3, 2, 3, 0]
    """
    step = 1
    while 2 * step < count - 1:
        step *= 2
    ranks, rank = [0] * count, 1
    done = {0, count - 1}
    while step:
        for at in set(range(0, count, step)) - done:
            ranks[at] = rank
            done.add(at)
        step, rank = step // 2, rank + 1
    return ranks
