"""A recommendation as text for a terminal: the answer first, then what it rests on and how to do it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from bitfit_probe.records.recommendation import Cost, Recommendation, Recommended, Trial
from bitfit_probe.rendering.distance_text import task_lines
from bitfit_probe.rendering.recommend_words import (
    SHORT,
    STORED_TASKS,
    answer,
    calibration,
    cost_cells,
    expected_cells,
    how_to,
    in_thousands,
    methods,
    reasons,
    trial_cells,
    trial_sentence,
    word_lines,
)
from bitfit_probe.rendering.words import printable

__all__ = ["recommended_to_text"]

#: Columns from which one table holds it all, and below which not even costs fit with their shares.
_ROOMY, _NARROW = 80, 48
_EXPECTED = (("", "method"), ("points", "below"), ("80 %", "interval"), ("", "basis"))
_COSTS = (
    ("", "trained"),
    ("", "share"),
    ("AdamW's", "memory"),
    ("kept a", "task"),
    (f"{STORED_TASKS}", "tasks"),
)
_TRIAL = ("method", "rate", "score", "80 % interval", "below", "80 % interval", "with all")
#: Columns that hold words, which stand at the left.
_WORDS = ("method", "basis", "rate")


def recommended_to_text(result: Recommended, width: int = 80) -> str:
    """The recommendation with its evidence, ending with a line break.

    The command and the program at the end stay whole where a path is longer than a line.
    """
    return "\n".join(printable(line).rstrip() for line in _lines(result, width)) + "\n"


def _lines(result: Recommended, width: int) -> Iterator[str]:
    found = result.recommendation
    yield from task_lines(result.distance, width)
    if found.first:
        yield "First, before changing the method:"
        yield from _points(found.first, width)
        yield ""
    yield from textwrap.wrap(answer(found), width)
    yield from textwrap.wrap(calibration(result), width, subsequent_indent="  ")
    yield ""
    yield from _methods(found, width)
    for title, sentences in reasons(found):
        yield from (title, *_points(sentences, width), "")
    if result.trial is not None:
        yield from _trial(result.trial, width)
    yield from _advice(found, width)


def _points(sentences: Sequence[str], width: int) -> Iterator[str]:
    for sentence in sentences:
        yield from textwrap.wrap(
            printable(sentence), width, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False
        )


def _methods(found: Recommendation, width: int) -> Iterator[str]:
    """One table where it fits, else one of what to expect and one of costs."""
    rows = list(methods(found))
    names = [(SHORT.get(name, name),) for name, _, _ in rows]
    expected = [expected_cells(item) for _, item, _ in rows]
    costs = [_costs(cost, found.costs) for _, _, cost in rows]
    if width >= _ROOMY:
        both = [(*a, *b, *c) for a, b, c in zip(names, expected, costs, strict=True)]
        yield from (*_table((*_EXPECTED, *_COSTS), both), "")
        return
    yield from (*_table(_EXPECTED, [(*a, *b) for a, b in zip(names, expected, strict=True)]), "")
    kept = [at for at, title in enumerate(_COSTS) if width >= _NARROW or title[1] != "share"]
    titles = (_EXPECTED[0], *(_COSTS[at] for at in kept))
    cells = [(*a, *(c[at] for at in kept)) for a, c in zip(names, costs, strict=True)]
    yield from (*_table(titles, cells), "")


def _costs(cost: Cost | None, costs: Sequence[Cost]) -> tuple[str, ...]:
    """As in a page, with trained parameters in three digits."""
    trained, *rest = cost_cells(cost, costs)
    return (trained if cost is None else in_thousands(cost.trainable), *rest)


def _table(titles: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    lines = [list(line) for line in zip(*titles, strict=True)] + [list(row) for row in rows]
    lines = [line for line in lines if any(line)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(titles))]
    for line in lines:
        cells = zip(line, widths, titles, strict=True)
        yield " ".join(
            cell.ljust(size) if title[-1] in _WORDS else cell.rjust(size) for cell, size, title in cells
        )


def _trial(trial: Trial, width: int) -> Iterator[str]:
    yield from textwrap.wrap(f"Trial: {trial_sentence(trial)}", width, subsequent_indent="  ")
    rows = [(SHORT.get(name, name), *cells) for name, *cells in trial_cells(trial)]
    if rows:
        if width >= _ROOMY:
            yield from _table([("", title) for title in _TRIAL], rows)
        else:
            shown = (0, 1, 4, 5)
            titles = [("", _TRIAL[at]) for at in shown]
            yield from _table(titles, [tuple(row[at] for at in shown) for row in rows])
    yield from _points(trial.notes, width)
    yield ""


def _advice(found: Recommendation, width: int) -> Iterator[str]:
    yield "How"
    for name, sentence in how_to(found.advice):
        yield from textwrap.wrap(
            f"{name}: {printable(sentence)}",
            width,
            initial_indent="- ",
            subsequent_indent="  ",
            break_on_hyphens=False,
        )
    yield ""
    yield from word_lines(found.advice.command, width)
    yield ""
    yield "The same as a plain Python program:"
    yield ""
    yield from found.advice.snippet.rstrip("\n").split("\n")
