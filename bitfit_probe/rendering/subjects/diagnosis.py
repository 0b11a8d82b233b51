"""How good a tuned model is, and what would make it better: the answer first, then what it rests on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bitfit_probe.records.diagnosis import (
    Cause,
    Diagnosed,
    Diagnosis,
    Example,
    Intervention,
    Measured,
    Quality,
    Rivals,
    Slice,
)
from bitfit_probe.rendering.document.blocks import (
    Block,
    Cell,
    Code,
    Column,
    Document,
    Facts,
    Fold,
    Heat,
    Part,
    Points,
    Strip,
    Strips,
    Table,
    Text,
)
from bitfit_probe.rendering.figures import measure
from bitfit_probe.rendering.subjects.tables import cut_table
from bitfit_probe.rendering.words import in_thousands, join_names, plural, sentence

__all__ = [
    "SCORES",
    "confusion_map",
    "diagnosed_document",
    "diagnosis_blocks",
    "gain_strips",
    "rivals_blocks",
]

#: What a score is called, by its measure.
SCORES = {"accuracy": "accuracy", "r2": "R²", "spearman": "Spearman's ρ", "loss": "loss"}
#: Steps that don't help and are shown outside the fold.
_MOST_OTHERS = 3
_MOST_CLASSES = 12


def diagnosed_document(found: Diagnosed, *, brief: bool = False) -> Document:
    """Everything about each tuned model, and which of several is the best; with `brief` without the folds."""
    blocks: list[Block] = []
    for number, item in enumerate(found.diagnoses):
        own = tuple(diagnosis_blocks(f"diagnosis-{number}", item))
        if brief:
            folded = [block.title for block in own if isinstance(block, Fold)]
            own = (*(block for block in own if not isinstance(block, Fold)), Text(_left_out(folded), "note"))
        blocks += own if len(found.diagnoses) == 1 else (Part(item.tuned, own),)
    blocks += [Part("Which is better", tuple(rivals_blocks(found.rivals)))] if found.rivals else []
    return Document(lead=tuple(blocks))


def diagnosis_blocks(key: str, found: Diagnosis) -> Iterator[Block]:
    """The answer, how good it is, what each step gains, causes, and where the model fails.

    Parameters
    ----------
    key
        Begins the anchors of its tables; unique within the document.
    """
    yield Text(found.headline, "verdict")
    yield Facts(tuple(_quality(found)))
    yield from _steps(key, found)
    yield from _causes(found.causes)
    yield from _classes(key, found.quality)
    yield from _slices(found.slices)
    yield from _examples(key, found)
    yield from (Text(f"Data: {note}.", "note") for note in found.notes)


def _left_out(folded: Sequence[str]) -> str:
    return (
        f"With --format md or json, too: {join_names([title[:1].lower() + title[1:] for title in folded])}."
    )


# Quality ------------------------------------------------------------------------------------------


def _quality(found: Diagnosis) -> Iterator[tuple[str, str]]:
    quality = found.quality
    name = SCORES[quality.measure]
    yield name, f"{_measured(quality, quality.tuned)} on {plural(found.examples, 'example')}"
    beside = [
        f"the base's probe {_measured(quality, quality.base_probe)}" if quality.base_probe else "",
        f"the most frequent class {quality.majority:.1%}" if quality.majority is not None else "",
        f"chance {quality.chance:.1%}" if quality.chance is not None else "",
    ]
    if any(beside):
        yield "beside", "; ".join(filter(None, beside))
    if quality.beats_chance is False:
        yield "", "Not better than guessing, as far as these examples can tell."
    if quality.uniform_loss is not None:
        above = ", which is better" if quality.loss.value > quality.uniform_loss else ""
        alike = f"answering each class alike {quality.uniform_loss:.3f}{above}"
        yield "loss", f"{quality.loss.value:.3f} nats; {alike}"
    if quality.calibration is not None:
        yield "calibration", f"confidence and accuracy are {100 * quality.calibration.error:.1f} points apart"


def _measured(quality: Quality, item: Measured) -> str:
    form = ".1%" if quality.measure == "accuracy" else ".3f"
    ends = "" if item.interval is None else f" ({item.interval[0]:{form}} to {item.interval[1]:{form}})"
    return f"{item.value:{form}}{ends}"


def _classes(key: str, quality: Quality) -> Iterator[Block]:
    if not quality.classes:
        return
    columns = [Column("class", "name"), *map(Column, ("examples", "answers", "recall", "precision"))]
    rows = [
        (item.name, f"{item.examples:,}", f"{item.predicted:,}", _share(item.recall), _share(item.precision))
        for item in quality.classes
    ]
    tables = [cut_table(f"{key}-classes", "What became of each class", columns, rows)]
    if len(rows) <= _MOST_CLASSES:
        tables.append(_confusion(key, quality))
    yield Fold("Classes", tuple(tables))


def confusion_map(key: str, quality: Quality) -> Heat | None:
    """Answers to the examples of each class, coloured by their share of the class; None for many classes."""
    names = [item.name for item in quality.classes]
    if not names or len(names) > _MOST_CLASSES:
        return None
    rows = tuple(
        (
            name,
            tuple(
                Cell(
                    f"{count:,}",
                    count / (sum(counts) or 1),
                    f"{name}, answered {answer}: {count:,} of {sum(counts):,}",
                )
                for answer, count in zip(names, counts, strict=True)
            ),
        )
        for name, counts in zip(names, quality.confusion, strict=True)
    )
    caption = "Answers (columns) to the examples of each class (rows), coloured by their share of the class"
    return Heat(key, caption, ("true class", *names), rows, "100 %")


def _confusion(key: str, quality: Quality) -> Table:
    names = [item.name for item in quality.classes]
    columns = [Column("true class", "name"), *(Column(name) for name in names)]
    rows = [
        (name, *(f"{count:,}" for count in counts))
        for name, counts in zip(names, quality.confusion, strict=True)
    ]
    return cut_table(f"{key}-confusion", "Answers (columns) to examples of each class (rows)", columns, rows)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


# Steps --------------------------------------------------------------------------------------------

_LOSS = measure("loss_gain")
_STEPS = (
    Column("step", "words"),
    Column("gain"),
    Column("95 %"),
    Column(_LOSS.label, rank=1),
    Column("its 95 %", rank=4),
    Column("examples", rank=3),
    Column("stored", rank=2),
    Column("seconds", rank=5),
)


def _steps(key: str, found: Diagnosis) -> Iterator[Block]:
    helping = [row for row in found.interventions if row.helps]
    others = [row for row in found.interventions if not row.helps]
    shown = helping or others[:_MOST_OTHERS]
    folded = others if helping else others[_MOST_OTHERS:]
    unit = "nats" if found.quality.measure == "loss" else "points"
    if shown:
        caption = f"Steps by their gain in {unit} of {SCORES[found.quality.measure]}"
        yield _table(f"{key}-steps", caption, shown, found.quality)
    first = helping[0] if helping else None
    if first is not None:
        yield Text(f"{first.title}: {first.how}.")
        if first.command:
            yield Code("Do it", first.command, "sh")
    if folded:
        title = f"{plural(len(folded), 'step')} within noise of nothing, or worse"
        yield Fold(title, (_table(f"{key}-others", title, folded, found.quality),))
    if found.interventions:
        yield Text(_how_judged(found), "note")


def gain_strips(key: str, found: Diagnosis, most: int = 8) -> Strips | None:
    """What each step gains, those that help filled; None where none was tried."""
    loss = found.quality.measure == "loss"
    by, unit = (1, "nats") if loss else (100, "points")
    rows = tuple(
        Strip(
            row.title,
            f"{by * row.gain:+.3g} ({by * row.interval[0]:+.3g} to {by * row.interval[1]:+.3g})",
            by * row.gain,
            (by * row.interval[0], by * row.interval[1]),
            filled=row.helps,
        )
        for row in found.interventions[:most]
    )
    caption = "What each step gains on your examples, 95 % intervals; filled: more than noise"
    axis = f"gain, {unit} of {SCORES[found.quality.measure]}"
    return Strips(key, caption, axis, rows, ((0.0, "no gain"),), drawn_only=True) if rows else None


def _how_judged(found: Diagnosis) -> str:
    early = any(row.examples < found.examples for row in found.interventions)
    words = [
        f"{plural(len(found.interventions), 'step')} tried.",
        "One helps where noise alone would make any of them look as good in under 5 % of cases.",
        "What is fitted is judged on other examples;",
        "the first line's gain is of examples that did not choose the step.",
        *(["Some were given up early."] if early else []),
    ]
    return " ".join(words)


def _table(key: str, caption: str, rows: Sequence[Intervention], quality: Quality) -> Table:
    def gain(value: float) -> str:
        return f"{value:+.3f}" if quality.measure == "loss" else f"{100 * value:+.1f}"

    return cut_table(
        key,
        caption,
        _STEPS,
        [
            (
                row.title,
                gain(row.gain),
                f"{gain(row.interval[0])} to {gain(row.interval[1])}",
                _LOSS.text(row.loss_gain),
                _LOSS.interval(row.loss_interval),
                f"{row.examples:,}",
                in_thousands(row.stored_parameters),
                f"{row.seconds:.1f}",
            )
            for row in rows
        ],
    )


def _causes(causes: Sequence[Cause]) -> Iterator[Block]:
    said = {
        "confirmed": "confirmed: the first step mends it",
        "a part": "mending it gains less than the first step",
        "not tried": "no step here would tell",
        "gains nothing": "mending it gains nothing here",
    }
    worth = [cause for cause in causes if cause.finding.severity != "info" or cause.verdict == "confirmed"]
    if worth:
        yield Points(
            tuple(
                f"{cause.finding.code} {cause.finding.name}: {cause.finding.message} ({said[cause.verdict]})"
                for cause in worth
            ),
            "What check found, and whether it explains the score",
        )


# Examples -----------------------------------------------------------------------------------------


def _slices(slices: Sequence[Slice]) -> Iterator[Block]:
    if slices:
        yield Points(tuple(map(_slice, slices)), "Where it does worse")


def _slice(item: Slice) -> str:
    low, high = (f"{100 * end:+.0f}" for end in item.interval)
    beside = f"{100 * item.difference:+.0f} points against the rest"
    count = plural(item.examples, "example")
    return f"{sentence(item.name)}: {item.score:.0%}, {beside} ({low} to {high}; {count})"


_EXAMPLES = (
    Column("row"),
    Column("text", "name", 1),
    Column("label", "name"),
    Column("answer", "name"),
    Column("loss"),
)


def _examples(key: str, found: Diagnosis) -> Iterator[Block]:
    kinds = (
        ("worst", "Examples with the highest loss", found.worst),
        ("lost", "Right by the base's probe, wrong by the tuned model", found.lost),
        ("won", "Wrong by the base's probe, right by the tuned model", found.won),
    )
    for name, title, rows in kinds:
        if rows:
            yield Fold(title, (_example_table(f"{key}-{name}", title, rows),))


def _example_table(key: str, caption: str, rows: Sequence[Example]) -> Table:
    with_text = any(row.text is not None for row in rows)
    cells = [(f"{row.row:,}", row.text or "", row.label, row.answer, f"{row.loss:.2f}") for row in rows]
    if with_text:
        return cut_table(key, caption, _EXAMPLES, cells)
    return cut_table(key, caption, (_EXAMPLES[0], *_EXAMPLES[2:]), [(cell[0], *cell[2:]) for cell in cells])


# Several ------------------------------------------------------------------------------------------


def rivals_blocks(rivals: Sequence[Rivals]) -> Iterator[Block]:
    """Which of several models is better, and where; nothing of a single one."""
    for item in rivals:
        by = 1 if item.chance is None else 100
        low, high = (f"{by * end:+.3g}" for end in item.interval)
        text = f"{item.second} against {item.first}: {by * item.gain:+.3g} (95 % {low} to {high})."
        if item.chance is not None:
            alone = f"{item.only_second:,} right by it alone, {item.only_first:,} by the other alone"
            text = f"{text} In points; McNemar p = {item.chance:.2g}: {alone}."
        if item.interval[0] <= 0:
            text = f"{text} That is within noise: these examples can't tell which is better."
        yield Text(text)
        if item.slices:
            yield Points(tuple(map(_slice, item.slices)), "Where they differ")
