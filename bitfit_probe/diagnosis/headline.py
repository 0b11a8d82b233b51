"""The answer in one or two sentences."""

from __future__ import annotations

from collections.abc import Sequence

from bitfit_probe.diagnosis.trying import Advice
from bitfit_probe.records.diagnosis import Intervention, Quality

__all__ = ["headline", "in_points"]

_UNITS = {"accuracy": "points", "r2": "points of R²", "spearman": "points of Spearman's ρ", "loss": "nats"}


def headline(quality: Quality, rows: Sequence[Intervention], advice: Advice | None, examples: int) -> str:
    """What to do, what it gains, and whether anything else would."""
    if advice is None:
        return f"No cheap step helps: see the trial. {_tried(rows, examples)}"
    chosen = advice.step.step
    gain = in_points(quality, advice.gain, sign=True)
    low, high = (in_points(quality, end) for end in advice.interval)
    first = (
        f"{chosen.title}: {gain} {_UNITS[quality.measure]} (95 % {low} to {high}) on {examples:,} examples."
    )
    helping = [row for row in rows if row.helps and row.name != chosen.name]
    others = [row for row in helping if not row.in_code]
    if not others:
        rest = (
            "Else only another class of the model gains."
            if helping
            else "Nothing else gains more than noise."
        )
        return f"{first} {rest}"
    best = max(others, key=lambda row: row.gain)
    more = f" ({len(others) - 1} more gain, too)" if len(others) > 1 else ""
    return f"{first} Next best: {_lowered(best.title)}, {in_points(quality, best.gain, sign=True)}{more}."


def in_points(quality: Quality, value: float, *, sign: bool = False) -> str:
    """A gain in the measure's unit: points (hundredths) of a share, nats of a loss."""
    if quality.measure == "loss":
        return f"{value:{'+' if sign else ''}.3f}".replace("-", "−")
    return f"{100 * value:{'+' if sign else ''}.0f}".replace("-", "−")


def _tried(rows: Sequence[Intervention], examples: int) -> str:
    return f"Of {len(rows)} steps that were tried on {examples:,} examples none gains more than noise."


def _lowered(title: str) -> str:
    return title[:1].lower() + title[1:]
