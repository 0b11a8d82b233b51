"""How far a task lies from what a model knows, and what each way to train could reach."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bitfit_probe.records import Evidence
from bitfit_probe.records.distance import Distance, LayerProbe, Reach
from bitfit_probe.rendering.document.blocks import Block, Column, Document, Facts, Part, Table, Text
from bitfit_probe.rendering.figures import measure
from bitfit_probe.rendering.roles import role_legend
from bitfit_probe.rendering.subjects.tables import evidence_table

__all__ = ["distance_document", "evidence_tables", "task_blocks"]

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
_SCORE = measure("score")


def distance_document(distance: Distance) -> Document:
    """Everything that was measured."""
    blocks: list[Block] = [*task_blocks(distance), *evidence_tables(distance.evidence)]
    if distance.layers:
        blocks.append(_layers(distance.layers))
    if distance.explained_after:
        what = "How much of the fine-tuned matrices' effect is a constant shift, which biases could do"
        blocks.append(Text(f"{what}: {_by_role(distance.explained_after)}."))
    if distance.reach is None:
        blocks.append(Text("Reach was not asked for.", "note"))
    else:
        blocks.append(Part(_REACH, tuple(_reach(distance.reach))))
    return Document(lead=tuple(blocks))


def task_blocks(distance: Distance) -> Iterator[Block]:
    """Which data on which model, and what is odd about the data."""
    kind = f"{distance.classes} classes" if distance.classes else "regression"
    yield Facts(
        (
            ("data", distance.data),
            ("", f"{distance.examples:,} examples, {kind}"),
            ("model", distance.model),
            *(("note", f"{note}.") for note in distance.notes),
        )
    )


def evidence_tables(evidence: Sequence[Evidence]) -> Iterator[Table]:
    """Label distances, then text distances under what they were measured against."""
    texts = [item for item in evidence if item.measure in _TEXT_MEASURES]
    labels = [item for item in evidence if item.measure not in _TEXT_MEASURES]
    if labels:
        yield evidence_table("distance", "Labels: how well the frozen model tells them apart", labels)
    if texts:
        yield evidence_table("distance-texts", f"Texts, {texts[0].about}", texts)


def _layers(layers: Sequence[LayerProbe]) -> Table:
    rows = tuple(
        (f"{item.layer}", _SCORE.text(item.score), _SCORE.interval(item.interval), _bar(item.score))
        for item in layers
    )
    columns = (Column("layer", "words"), *_scored())
    caption = "Probe by depth (leave-one-out ridge on pooled features; 0 is the embeddings)"
    return Table("layers", caption, columns, rows)


def _scored() -> tuple[Column, ...]:
    return Column(_SCORE.label), Column("interval", "words"), Column("0 to 1", "words", 1)


def _bar(share: float) -> str:
    return "█" * round(max(share, 0.0) * _BAR)


# Reach --------------------------------------------------------------------------------------------

_REACH = "Reach: what each way to train is foreseen to score, without training"
_CAUTION = (
    "A forecast is a ranking aid: gaps smaller than its interval are no gaps, and how well forecasts meet "
    "real runs is in docs/distance.md."
)


def _reach(reach: Reach) -> Iterator[Block]:
    rows = [
        (item.method, _SCORE.text(item.score), _SCORE.interval(item.interval), _bar(item.score))
        for item in reach.forecasts
    ]
    columns = (Column("method", "words"), *_scored())
    yield Table("reach", "", columns, (("chance", _SCORE.text(reach.chance), "", ""), *rows))
    if reach.smallest_rank is not None:
        yield Text(f"LoRA of rank {reach.smallest_rank} comes within a point of the best rank.")
    if reach.roles:
        shares = [(role, share) for role, share in reach.roles if share >= 0.005]
        parts = ", ".join(f"{role} {100 * share:.0f} %" for role, share in shares)
        legend = role_legend(role for role, _ in shares)
        yield Text(f"Bias reach by role: {parts}.{f' ({legend}.)' if legend else ''}")
    if reach.explained:
        told = "Gradient of a constant shift beside that of the whole matrix"
        yield Text(f"{told}: {_by_role(reach.explained)}.")
    yield Text(_CAUTION, "note")


def _by_role(shares: tuple[tuple[str, int | None, float], ...]) -> str:
    """Means over layers, largest first."""
    roles: dict[str, list[float]] = {}
    for role, _, share in shares:
        roles.setdefault(role, []).append(share)
    means = sorted(((sum(found) / len(found), role) for role, found in roles.items()), reverse=True)
    return ", ".join(f"{role} {100 * mean:.0f} %" for mean, role in means)
