"""Which of several checkpoints moved alike, and the odd one out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bitfit_probe.rendering.document.blocks import Chart, Column, Table
from bitfit_probe.rendering.figures import measure
from bitfit_probe.rendering.subjects.tables import cut_table
from bitfit_probe.rendering.words import LIKENESS_OF

if TYPE_CHECKING:
    from bitfit_probe.records.measures import Likeness
    from bitfit_probe.rendering.charts import Panel

__all__ = ["likeness_chart", "likeness_table", "likeness_words"]

_COSINE = measure("likeness")


def likeness_chart(key: str, likeness: Likeness, caption: str) -> Chart:
    """Cosines between changes, in colours and as numbers."""

    def draw() -> Panel | None:
        from bitfit_probe.rendering.charts import likeness_matrix

        return likeness_matrix(likeness)

    return Chart(key, draw, caption, (likeness_table(f"{key}-numbers", likeness),))


def likeness_table(key: str, likeness: Likeness) -> Table:
    """Cosines between changes; the mean to the others stays where the matrix has no room."""
    count = len(likeness.names)
    columns = (
        Column("fine-tuned", "name"),
        Column("others"),
        *(Column(str(number), rank=1) for number in range(1, count + 1)),
    )
    rows = [
        (f"{at + 1}  {name}", _COSINE.text(_to_others(likeness, at)), *map(_COSINE.text, likeness.cosine[at]))
        for at, name in enumerate(likeness.names)
    ]
    of = f"{LIKENESS_OF[likeness.of]}, {likeness.role or 'all roles'}"
    caption = f"How alike they moved: cosine between {of}"
    return cut_table(key, caption, columns, rows)


def likeness_words(found: Sequence[Likeness]) -> str:
    """Means by role, and which checkpoint stands out."""
    everything = next(item for item in found if item.role is None)
    roles = [item for item in found if item.role is not None]
    means = f"Mean by role: {', '.join(f'{item.role} {_mean(item)}' for item in roles)}. " if roles else ""
    return f"{means}{_odd(everything, roles)}"


def _to_others(item: Likeness, one: int) -> float | None:
    return _average([value for other, value in enumerate(item.cosine[one]) if other != one])


def _mean(item: Likeness) -> str:
    """Mean cosine over all pairs of checkpoints."""
    return _COSINE.text(_average([_to_others(item, one) for one in range(len(item.names))]))


def _average(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _odd(everything: Likeness, roles: Sequence[Likeness]) -> str:
    if len(everything.names) < 3:
        return "An odd one out takes three."
    named = [f"{item.role} {item.odd_one_out + 1}" for item in roles if item.odd_one_out is not None]
    by_role = f" By role: {', '.join(named)}." if named else ""
    if everything.odd_one_out is None:
        return f"Odd one out: none.{by_role}"
    number = everything.odd_one_out
    return f"Odd one out: {number + 1}, {everything.names[number]}.{by_role}"
