"""Which method to take: the answer first, then what it rests on and how to do it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bitfit_probe.records.recommendation import Cost, Expected, Recommendation, Recommended, Trial
from bitfit_probe.rendering.document.blocks import (
    Block,
    Chart,
    Code,
    Column,
    Document,
    Facts,
    Fold,
    Part,
    Points,
    Table,
    Text,
)
from bitfit_probe.rendering.figures import measure
from bitfit_probe.rendering.roles import role_legend
from bitfit_probe.rendering.subjects.distance import task_blocks
from bitfit_probe.rendering.subjects.methods import (
    answer,
    calibration,
    how_to,
    rate_text,
    reasons,
    share_of,
    trial_sentence,
)
from bitfit_probe.rendering.words import in_bytes, in_thousands, sentence, short_name

if TYPE_CHECKING:
    from bitfit_probe.rendering.charts import Panel

__all__ = ["recommendation_blocks", "recommendation_document"]

#: Of so many tasks on one base the storage is shown.
_STORED_TASKS = 100
_GAP, _SCORE = measure("gap"), measure("score")


def recommendation_document(result: Recommended) -> Document:
    """The recommendation with its evidence."""
    return Document(lead=(*task_blocks(result.distance), *recommendation_blocks(result)))


def recommendation_blocks(result: Recommended) -> Iterator[Block]:
    """The answer, what to expect of each method, reasons, the trial, and how to do it."""
    found = result.recommendation
    if found.first:
        yield Points(found.first, "First, before changing the method:")
    yield Text(answer(found))
    yield Text(f"{sentence(calibration(result))}.", "note")
    yield _gaps(found)
    yield _methods(found)
    yield _prices(found)
    yield from (Points(sentences, title) for title, sentences in reasons(found))
    if result.trial is not None:
        yield Part("The trial", tuple(_trial(result.trial)))
    yield Part("How", tuple(_how(found)))
    yield Code("Command", found.advice.command, "sh")
    yield Fold("The same as a plain Python program", (Code("Program", found.advice.snippet, "python"),))


def _how(found: Recommendation) -> Iterator[Block]:
    yield Facts(tuple(how_to(found.advice)))
    legend = role_legend(found.advice.roles)
    if legend:
        yield Text(f"{legend}.", "note")


def _gaps(found: Recommendation) -> Chart:
    def draw() -> Panel | None:
        from bitfit_probe.rendering.charts import gaps

        return gaps(found)

    caption = (
        "Points below the best method over stored parameters, with 80 % intervals; all along the dashed line "
        "is worth the same at the price."
    )
    return Chart("gaps", draw, caption)


# Methods ------------------------------------------------------------------------------------------

_METHODS = (
    Column("method", "words"),
    Column(_GAP.label),
    Column("80 % interval"),
    Column("basis", "words"),
    Column("trained"),
    Column("share"),
    Column("AdamW's memory"),
    Column("kept a task"),
    Column(f"{_STORED_TASKS} tasks"),
)


def _methods(found: Recommendation) -> Table:
    """What is expected of each method, and what it costs, cheapest first."""
    costs = {cost.method: cost for cost in found.costs}
    names = dict.fromkeys([*(item.method for item in found.expected), *costs])
    rows = tuple(
        (short_name(name), *_expected(found.of(name)), *_cost(costs.get(name), found.costs)) for name in names
    )
    return Table("methods", "What to expect of each method, and what it costs", _METHODS, rows)


def _expected(item: Expected | None) -> tuple[str, str, str]:
    if item is None:
        return "–", "–", "–"
    return _GAP.text(item.gap), _GAP.interval(item.interval), item.basis


def _cost(cost: Cost | None, costs: Sequence[Cost]) -> tuple[str, ...]:
    if cost is None:
        return ("–",) * 5
    kept = (cost.optimizer_bytes, cost.checkpoint_bytes, cost.stored(_STORED_TASKS))
    return in_thousands(cost.trainable), share_of(costs, cost.method) or "–", *map(in_bytes, kept)


# The price ----------------------------------------------------------------------------------------

_PRICES = (Column("price", "words"), Column("method", "words"))


def _prices(found: Recommendation) -> Table:
    """What other prices would speak for."""
    rows = tuple((f"{item.price:g}", short_name(item.method)) for item in found.prices)
    title = "Points that a tenfold saving of stored parameters is worth, and what that speaks for"
    return Table("prices", title, _PRICES, rows)


# The trial ----------------------------------------------------------------------------------------

_TRIAL = (
    Column("method", "words"),
    Column("rate", "words"),
    Column(_SCORE.label),
    Column("80 % interval"),
    Column(_GAP.label),
    Column("80 % interval"),
)


def _trial(trial: Trial) -> Iterator[Block]:
    yield Text(trial_sentence(trial))
    if trial.results:
        rows = tuple(
            (
                short_name(item.method),
                f"{rate_text(item.rate)}{' (edge)' if item.at_edge else ''}",
                _SCORE.text(item.score),
                _SCORE.interval(item.interval),
                _GAP.text(item.gap),
                _GAP.interval(item.gap_interval),
            )
            for item in trial.results
        )
        yield Table("trial", "Short runs, each method at its best rate", _TRIAL, rows)
    if trial.notes:
        yield Points(trial.notes)
