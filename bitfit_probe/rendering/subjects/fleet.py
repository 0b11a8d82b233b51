"""A fleet: what came of it, what stands out, and one line a checkpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from bitfit_probe.records.fleet import Fleet, FleetRow
from bitfit_probe.rendering.document.blocks import (
    Block,
    Column,
    Document,
    Facts,
    Section,
    Table,
    Text,
)
from bitfit_probe.rendering.figures import figures_of, measure
from bitfit_probe.rendering.subjects.failures import failed_points
from bitfit_probe.rendering.words import format_number, in_bytes, join_names, percent, plural

__all__ = ["fleet_page"]

#: Names in a cell or a sentence.
_MOST_NAMES = 6
_FIGURES = ("bias_change", "relative_l2")
_WORST = ("error", "warning", "info")
_BASE = {"this": "yes", "another": "no", "unknown": "can't tell"}


def fleet_page(fleet: Fleet, data: str = "", *, every: bool = True) -> Document:
    """Everything about a fleet, where `data` is the same as JSON; `every` for one line a checkpoint."""
    sections = (
        Section("counts", "What they are", (_verdicts(fleet), *_findings(fleet))),
        Section(
            "failed",
            "What could not be read",
            tuple(failed_points([row.error for row in fleet.failed if row.error], "")),
        ),
        Section("apart", "What stands out", tuple(_apart(fleet))),
        Section("directions", "Which moved alike", tuple(_clusters(fleet))),
        Section("bases", "Which base they are from", tuple(_bases(fleet))),
        Section("checkpoints", "Every checkpoint", (_checkpoints(fleet.rows),) if every else ()),
    )
    return Document(
        f"{plural(len(fleet.rows), 'checkpoint')} of {fleet.base}",
        tuple(_lead(fleet)),
        tuple(section for section in sections if section.blocks),
        fleet.version,
        data,
        "bitfit-probe fleet show",
    )


def _lead(fleet: Fleet) -> Iterator[Block]:
    failed, found = len(fleet.failed), Counter(_worst(row) for row in fleet.rows)
    words = [f"{plural(len(fleet.rows) - failed, 'checkpoint')} judged"]
    words += [f"{failed:,} could not be read"] if failed else []
    words += [f"{found[level]:,} with {level}s" for level in _WORST[:2] if found[level]]
    yield Text(f"{join_names(words)}.", "verdict")
    if fleet.missing:
        text = f"{plural(len(fleet.missing), 'checkpoint')} not judged yet: go on with fleet run --resume."
        yield Text(text, "alarm")
    seconds, nbytes = sum(row.seconds for row in fleet.rows), sum(row.nbytes for row in fleet.rows)
    yield Facts(
        (
            ("base", fleet.base),
            ("work", f"{in_bytes(nbytes)} of weights, {seconds:,.0f} s of all workers together"),
        )
    )


def _worst(row: FleetRow) -> str:
    levels = {found.severity for found in row.findings}
    return next((level for level in _WORST if level in levels), "")


# What they are ------------------------------------------------------------------------------------


def _verdicts(fleet: Fleet) -> Table:
    counts = Counter(row.verdict or "not judged" for row in fleet.rows)
    rows = tuple((verdict, f"{count:,}") for verdict, count in counts.most_common())
    return Table("verdicts", "Verdicts", (Column("verdict", "words"), Column("checkpoints")), rows)


def _findings(fleet: Fleet) -> Iterator[Table]:
    counts = Counter(item for row in fleet.rows for item in dict.fromkeys(row.findings))
    ordered = sorted(
        counts.items(), key=lambda each: (_WORST.index(each[0].severity), -each[1], each[0].code)
    )
    if ordered:
        columns = (Column("code", "words"), Column("severity", "words"), Column("checkpoints"))
        rows = tuple((found.code, found.severity, f"{count:,}") for found, count in ordered)
        yield Table("findings", "Findings by code", columns, rows)


# What stands out ----------------------------------------------------------------------------------


def _apart(fleet: Fleet) -> Iterator[Block]:
    rows = [
        *((name, "nothing was trained") for name in fleet.unmoved),
        *((name, "blown up: NaN, infinite, or far beyond the others") for name in fleet.blown_up),
        *((item.tuned, item.why) for item in fleet.outliers),
        *(
            (names[0], f"every figure is that of {join_names(names[1:], _MOST_NAMES)}")
            for names in fleet.duplicates
        ),
    ]
    if rows:
        columns = (Column("checkpoint", "name"), Column("what", "words"))
        yield Table("apart", "Unmoved, blown up, unlike the others, or the same", columns, tuple(rows))


def _clusters(fleet: Fleet) -> Iterator[Block]:
    if not fleet.clusters:
        return
    rows = tuple(
        (f"{at}", f"{len(item.members):,}", measure("likeness").text(item.likeness), item.members[0])
        for at, item in enumerate(fleet.clusters, 1)
    )
    columns = (
        Column("cluster", "words"),
        Column("checkpoints"),
        Column("mean cosine"),
        Column("first", "words"),
    )
    yield Table("clusters", "Clusters by the direction in which biases moved", columns, rows)
    alone = len([row for row in fleet.rows if row.direction]) - sum(
        len(item.members) for item in fleet.clusters
    )
    text = "Cosines are to the cluster's mean and estimated from sketches, to about 0.03."
    yield Text(f"{plural(alone, 'checkpoint')} alone. {text}", "note")


def _bases(fleet: Fleet) -> Iterator[Block]:
    counts = Counter((row.base_is, row.named_base or "–") for row in fleet.rows if row.status == "judged")
    rows = tuple((named, _BASE[standing], f"{count:,}") for (standing, named), count in counts.most_common())
    columns = (
        Column("named by the checkpoints", "words"),
        Column("tuned from this base", "words"),
        Column("checkpoints"),
    )
    if rows:
        yield Table("bases", "What they name as their base, and what their matrices say", columns, rows)


# Every checkpoint ---------------------------------------------------------------------------------


def _checkpoints(rows: Sequence[FleetRow]) -> Table:
    """All of them, on a page too: whoever looks for one must find it."""
    columns = (
        Column("checkpoint", "name"),
        Column("verdict", "words"),
        Column("biases moved"),
        Column("tensors moved", rank=1),
        *(Column(measure(name).label, rank=at + 1) for at, name in enumerate(_FIGURES)),
        Column("compared", rank=3),
        Column("findings", "words"),
        Column("base", "words", 4),
        Column("seconds", rank=5),
    )
    return Table("checkpoints", "Every checkpoint", columns, tuple(map(_line, rows)))


def _line(row: FleetRow) -> tuple[str, ...]:
    codes = [found.code for level in _WORST for found in row.findings if found.severity == level]
    return (
        row.tuned,
        row.verdict or (row.error.code if row.error else "–"),
        f"{row.changed_biases:,} of {row.biases:,}" if row.verdict else "–",
        f"{row.changed_tensors:,} of {row.compared_tensors:,}" if row.verdict else "–",
        *figures_of(row, _FIGURES),
        "–" if row.coverage is None else percent(row.coverage),
        join_names(list(dict.fromkeys(codes)), _MOST_NAMES),
        _BASE[row.base_is] if row.verdict else "–",
        format_number(row.seconds, ".1f"),
    )
