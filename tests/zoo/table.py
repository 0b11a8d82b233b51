"""Run `check` on every specimen, look-alike and healthy run, and set out what was found."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.beds import EVERY, healthy
from zoo.specimens import Built, Specimen, each_bed, write

from bitfit_probe.data import as_examples
from bitfit_probe.errors import BitfitProbeError
from bitfit_probe.pair import open_pairs
from bitfit_probe.records import Finding
from bitfit_probe.rules import check

#: Trained runs: folders with a `pair.json` that names the base, or the folder of a task with `base` inside.
HEALTHY = Path(__file__).parents[2] / "benchmarks" / ".cache" / "check" / "healthy"
#: What the rounds of blind sabotage came to: written down, as their files are not here.
BLIND = Path(__file__).parent / "blind.md"


@dataclass(frozen=True)
class Seen:
    """What `check` said of one pair."""

    findings: tuple[Finding, ...]
    error: str | None = None

    @property
    def first(self) -> str | None:
        return self.findings[0].code if self.findings else None

    @property
    def alarms(self) -> tuple[str, ...]:
        return tuple(item.code for item in self.findings if item.severity != "info")


def look(built: Built) -> Seen:
    """Check a written pair; an error that no rule explains is kept as text."""
    try:
        examples = None if built.data is None else as_examples(built.data)
        found = check(open_pairs(built.base, built.tuned, data=examples), strict=True)
    except BitfitProbeError as error:
        return Seen((), f"{error.code} {error.what}")
    return Seen(found.findings)


def seen(specimen: Specimen, folder: Path) -> Seen:
    return look(specimen.build(folder))


@dataclass(frozen=True)
class Row:
    """One pair with its name, what was expected and what was found."""

    name: str
    specimen: Specimen | None
    seen: Seen

    @property
    def right(self) -> bool:
        if self.specimen is None or self.specimen.code is None:
            return not self.seen.alarms and self.seen.error is None
        return self.seen.first == self.specimen.code

    @property
    def answer(self) -> str:
        return self.seen.error or self.seen.first or "silence"


def rows(kinds: Sequence[Specimen]) -> Iterator[Row]:
    for specimen in kinds:
        with tempfile.TemporaryDirectory() as folder:
            yield Row(specimen.id, specimen, seen(specimen, Path(folder)))


def sample_rows() -> Iterator[Row]:
    """The healthy runs of the zoo itself, and the embedded pair."""
    from bitfit_probe import sample

    yield Row("embedded sample", None, look(Built(sample.base_path(), (sample.tuned_path(),), None)))
    for bed, task in each_bed():
        with tempfile.TemporaryDirectory() as folder:
            built = write(healthy(bed, task), Path(folder), "folder")
            yield Row(f"{bed} {task}", None, look(built))


def trained_rows(folder: Path) -> Iterator[Row]:
    """Runs that were really trained: each folder's run.json names its base."""
    for settings in sorted(folder.glob("*/run.json")):
        run = json.loads(settings.read_text())
        base = Path(run["base"])
        base = base if base.is_absolute() else Path(__file__).parents[2] / base
        yield Row(settings.parent.name, None, look(Built(base, (settings.parent,), None)))


def by_kind(found: Sequence[Row]) -> dict[tuple[str, str, str], list[Row]]:
    groups: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in found:
        assert row.specimen is not None
        groups[row.specimen.kind, row.specimen.code or "", _title(row.specimen)].append(row)
    return groups


def _title(specimen: Specimen) -> str:
    return specimen.title


def _cell(found: Sequence[Row], bed: str) -> str:
    here = [row for row in found if row.specimen is not None and row.specimen.bed == bed]
    if not here:
        return "–"
    right = sum(row.right for row in here)
    return f"{right}/{len(here)}"


def table(found: Sequence[Row]) -> list[str]:
    """Markdown: one line a kind, one column an architecture, right of all."""
    lines = [
        "| kind | what | code | " + " | ".join(EVERY) + " |",
        "|---|---|---|" + "---|" * len(EVERY),
    ]
    for (number, code, title), group in by_kind(found).items():
        cells = " | ".join(_cell(group, bed) for bed in EVERY)
        lines.append(f"| {number} | {title} | {code or 'none'} | {cells} |")
    return lines


def missed(found: Sequence[Row]) -> list[str]:
    return [
        f"- `{row.name}`: {row.answer}"
        + (f" (alarms: {', '.join(row.seen.alarms)})" if row.seen.alarms else "")
        for row in found
        if not row.right
    ]


def said(row: Row) -> str:
    """Every finding on one pair, with its severity."""
    return ", ".join(f"{item.code} ({item.severity})" for item in row.seen.findings) or "nothing"


def share(found: Sequence[Row]) -> str:
    right = sum(row.right for row in found)
    return f"{right} of {len(found)}"


def page(kinds: Sequence[Row], alike: Sequence[Row], own: Sequence[Row], trained: Sequence[Row]) -> str:
    numbers = {row.specimen.kind for row in kinds if row.specimen}
    whole, total = [number for number in numbers if _complete(kinds, number)], len(numbers)
    lines = [
        "# The zoo",
        "",
        "Written by `make zoo`: every kind of failure is planted in a tiny model of each architecture where",
        "it makes sense, and in several containers; *found* means that the kind's code is the first finding.",
        "Numbers in a cell: specimens found of specimens built; `–` where the kind makes no sense there.",
        "",
        "The specimens were built beside the rules, from public reports. They show that a rule knows its",
        "kind in every shape that is listed; they are no estimate of how often it is right on unseen files.",
        "What a loader does with the faulty names, transformers itself was asked (tests/zoo/test_loader.py).",
        "",
        f"- Kinds found in every specimen: {len(whole)} of {total}; specimens found: {share(kinds)}.",
        f"- Look-alikes without an error or a warning: {share(alike)}.",
        f"- Healthy runs of the zoo and the embedded sample without one: {share(own)}.",
        f"- Trained BitFit, LoRA and full runs without one: {share(trained) if trained else 'none present'}.",
        "",
        "## Kinds of failure",
        "",
        *table(kinds),
        "",
        "## Healthy look-alikes",
        "",
        *table(alike),
        "",
    ]
    faults = missed(kinds)
    alarms = missed([*alike, *own, *trained])
    lines += ["## Missed", "", *(faults or ["None."]), "", "## False alarms", "", *(alarms or ["None."]), ""]
    if trained:
        lines += ["## Trained runs", "", *(f"- {row.name}: {said(row)}" for row in trained), ""]
    return "\n".join([*lines, BLIND.read_text(encoding="utf-8")])


def _complete(found: Sequence[Row], number: str) -> bool:
    return all(row.right for row in found if row.specimen is not None and row.specimen.kind == number)
