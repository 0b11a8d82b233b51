"""A task's distance as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from bitfit_probe.records import Evidence
from bitfit_probe.records.distance import Distance, Reach
from bitfit_probe.rendering.words import printable, shorten

__all__ = ["distance_to_text", "task_lines"]

_LABELS = {
    "linear_probe": "linear probe",
    "nearest_neighbours": "nearest neighbours",
    "log_me": "LogME",
    "h_score": "H-score",
    "majority": "most frequent class",
    "proxy_a_distance": "proxy A-distance",
    "frechet": "Fréchet distance",
    "mmd": "MMD²",
    "tokens_per_word": "tokens a word",
    "unknown_share": "unknown tokens",
    "length": "tokens a text",
    "language_loss_gap": "language loss gap",
    "best_layer": "most telling layer",
}
_TEXT_MEASURES = frozenset(
    {
        "proxy_a_distance",
        "frechet",
        "mmd",
        "tokens_per_word",
        "unknown_share",
        "length",
        "language_loss_gap",
    }
)
_BAR = 24


def distance_to_text(distance: Distance, width: int = 80) -> str:
    """Everything that was measured, ending with a line break."""
    return "\n".join(line.rstrip() for line in _lines(distance, width)) + "\n"


def task_lines(distance: Distance, width: int) -> Iterator[str]:
    """Which data on which model, and what is odd about the data."""
    kind = f"{distance.classes} classes" if distance.classes else "a quantity"
    yield f"{shorten(printable(distance.data), width)}"
    yield f"{distance.examples} examples, {kind}, on {shorten(printable(distance.model), width - 30)}"
    yield ""
    for note in distance.notes:
        yield from textwrap.wrap(f"Note: {printable(note)}.", width, subsequent_indent="  ")
    if distance.notes:
        yield ""


def _lines(distance: Distance, width: int) -> Iterator[str]:
    yield from task_lines(distance, width)
    for title, group in _groups(distance):
        yield shorten(printable(title), width)
        for item in group:
            yield _evidence(item, width)
        yield ""
    if distance.layers:
        yield "Probe by depth (leave-one-out ridge on pooled features; 0 is the embeddings)"
        for probe in distance.layers:
            bar = "█" * round(max(probe.score, 0.0) * _BAR)
            low, high = probe.interval
            yield f"  {probe.layer:>3} {bar:<{_BAR}} {probe.score:.3f}  [{low:.3f}, {high:.3f}]"
        yield ""
    if distance.explained_after:
        yield "How much of the tuned matrices' effect is a constant shift, which biases could do"
        yield from _indented(_by_role(distance.explained_after), width)
        yield ""
    yield from _reach(distance.reach, width) if distance.reach is not None else ["Reach was not asked for."]


def _groups(distance: Distance) -> Iterator[tuple[str, list[Evidence]]]:
    """Label distances, then text distances under what they were measured against."""
    texts = [item for item in distance.evidence if item.measure in _TEXT_MEASURES]
    yield "Labels", [item for item in distance.evidence if item not in texts]
    if texts:
        yield f"Texts, {texts[0].about}", texts


def _evidence(item: Evidence, width: int) -> str:
    label = _LABELS.get(item.measure, item.measure)
    value = f"{item.value:.4g}" if isinstance(item.value, (int, float)) else str(item.value)
    interval = f"[{item.interval[0]:.3g}, {item.interval[1]:.3g}]" if item.interval else ""
    more = item.about if item.measure not in _TEXT_MEASURES else item.source
    line = f"  {label:<20} {value:>7} {interval:<16} {item.reading or '':<8} {more or ''}"
    return shorten(printable(line), width)


def _reach(reach: Reach, width: int) -> Iterator[str]:
    yield "Reach: what each way to train is foreseen to score, without training"
    yield f"  {'chance':<10} {reach.chance:.3f}"
    for item in reach.forecasts:
        bar = "█" * round(max(item.score, 0.0) * _BAR)
        low, high = item.interval
        yield f"  {item.method:<10} {item.score:.3f}  [{low:.3f}, {high:.3f}]  {bar}"
    if reach.smallest_rank is not None:
        yield f"  LoRA of rank {reach.smallest_rank} comes within a point of the best rank."
    if reach.roles:
        parts = ", ".join(f"{role} {100 * share:.0f} %" for role, share in reach.roles if share >= 0.005)
        yield from textwrap.wrap(
            f"Bias reach by role: {parts}.", width, initial_indent="  ", subsequent_indent="  "
        )
    if reach.explained:
        told = "Gradient of a constant shift beside that of the whole matrix: "
        yield from _indented(told + _by_role(reach.explained), width)
    sentence = (
        "A forecast is a ranking aid: gaps smaller than its interval are no gaps, and how well forecasts "
        "meet real runs is in docs/distance.md."
    )
    yield from _indented(sentence, width)


def _by_role(shares: tuple[tuple[str, int | None, float], ...]) -> str:
    """Means over layers, largest first."""
    roles: dict[str, list[float]] = {}
    for role, _, share in shares:
        roles.setdefault(role, []).append(share)
    means = sorted(((sum(found) / len(found), role) for role, found in roles.items()), reverse=True)
    return ", ".join(f"{role} {100 * mean:.0f} %" for mean, role in means) + "."


def _indented(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="  ")
