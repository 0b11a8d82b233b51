"""What putting groups of biases back did, in a terminal of any width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bitfit_probe.records.measures import Revert, Reverting
from bitfit_probe.rendering.words import printable, shorten, wrap

__all__ = ["reverting_lines"]

#: Columns from which the interval of the accuracy has room as well.
_ROOMY = 72


def reverting_lines(found: Reverting | None, width: int) -> Iterator[str]:
    """Groups by what the loss gains without them, then those that could go back for free."""
    if found is None:
        return
    tuned = f"loss {found.loss:.3f}" + ("" if found.accuracy is None else f", accuracy {found.accuracy:.1%}")
    title = f"Biases by {found.by}, put back to the base one at a time ({found.examples:,} examples, {tuned})"
    yield from wrap(title, width)
    roomy, classes = width >= _ROOMY, found.accuracy is not None
    yield _header(found, roomy=roomy, classes=classes)
    for row in found.rows:
        figures = _figures(row, roomy=roomy, classes=classes)
        yield f"{figures}  {shorten(printable(row.group.label), max(width - len(figures) - 2, 6))}"
    yield from wrap(_free(found), width, "  ")
    yield from wrap(_intervals(found), width, "  ")
    for note in found.notes:
        yield from wrap(f"Data: {printable(note)}.", width, "  ")
    yield ""


def _header(found: Reverting, *, roomy: bool, classes: bool) -> str:
    titles = [f"{'Δ loss':>7} {'interval':>18}" if roomy else f"{'Δ loss':>7}"]
    if classes:
        titles.append(f"{'Δ accuracy':>10} {'interval':>16}" if roomy else f"{'Δ acc.':>6}")
    return "  ".join([*titles, f"{'verdict':<9}", found.by])


def _figures(row: Revert, *, roomy: bool, classes: bool) -> str:
    low, high = row.loss_interval
    cells = [f"{row.loss_change:>+7.3f}" + (f" [{low:>+7.3f}, {high:>+7.3f}]" if roomy else "")]
    if classes and row.accuracy_change is not None and row.accuracy_interval is not None:
        low, high = (100 * end for end in row.accuracy_interval)
        change = 100 * row.accuracy_change
        cells.append(f"{change:>+9.1f}% [{low:>+6.1f}, {high:>+6.1f}]" if roomy else f"{change:>+5.1f}%")
    return "  ".join([*cells, f"{row.verdict:<9}"])


def _free(found: Reverting) -> str:
    free = [row for row in found.rows if row.verdict == "free"]
    none = [row for row in found.rows if row.verdict == "no effect"]
    parts = [
        f"Each of these could go back for free: {_labels(free)}." if free else "No group is free to go back."
    ]
    if none:
        parts.append(f"Without effect, because softmax cancels them: {_labels(none)}.")
    if found.together is not None:
        together = found.together
        low, high = together.loss_interval
        parts.append(
            f"All of them at once: loss {together.loss_change:+.3f} [{low:+.3f}, {high:+.3f}],"
            f" {'free' if together.free else 'matters' if together.matters else 'undecided'}."
        )
    return " ".join(parts)


def _labels(rows: Sequence[Revert]) -> str:
    return ", ".join(printable(row.group.label) for row in rows)


def _intervals(found: Reverting) -> str:
    fewest = min((row.examples for row in found.rows), default=found.examples)
    early = f" Groups that were decided early saw {fewest:,} examples." if fewest < found.examples else ""
    return (
        f"Free: the loss rises by less than {found.tolerance:g} {found.unit}; matters: by more. Intervals of"
        f" {found.confidence:.0%} over examples, for each group by itself.{early}"
    )
