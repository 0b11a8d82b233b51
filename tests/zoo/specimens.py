"""What the zoo consists of: one faulty (or harmless) pair of checkpoints a specimen, and how to build it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from zoo.beds import BEDS, Model, Run, healthy

Plant = Callable[..., None]

#: Modules in this folder that hold builders.
_HOUSES = (
    "training",
    "movement",
    "adapters",
    "files",
    "names",
    "heads",
    "vocabulary",
    "values",
    "lookalikes",
)


@dataclass(frozen=True)
class Specimen:
    """A pair of checkpoints with one planted fault.

    Attributes
    ----------
    kind
        Number in the catalogue, or ``C1`` … for a look-alike.
    code
        What the first finding must be; None where nothing may be wrong.
    title
        The kind in a few words.
    bed, container, variant
        The architecture, the files it is written to, and what differs within the kind.
    """

    kind: str
    code: str | None
    title: str
    bed: str
    container: str
    variant: Any
    task: str
    plant: Plant

    @property
    def id(self) -> str:
        parts = [self.kind, self.bed, self.container, *([] if self.variant is None else [str(self.variant)])]
        return "-".join(part.replace(" ", "_") for part in parts)

    def build(self, folder: Path) -> Built:
        """Write the pair under `folder`."""
        run = healthy(self.bed, self.task)
        self.plant(run, *(() if self.variant is None else (self.variant,)))
        return write(run, folder, self.container)


@dataclass(frozen=True)
class Built:
    """Paths of a written pair."""

    base: Path
    tuned: tuple[Path, ...]
    data: Path | None


def write(run: Run, folder: Path, container: str) -> Built:
    """Write a run. The base is a plain folder, or the tuned one's kind of lone file."""
    lone = container in ("file", "legacy", "nested")
    base = run.base.save(folder / "base", container if lone else "folder")
    tuned = [
        _save(model, folder / f"tuned{n or ''}", container)
        for n, model in enumerate([run.tuned, *run.others])
    ]
    data = None
    if run.data is not None:
        data = folder / "data.csv"
        data.write_text(run.data)
    return Built(base, tuple(tuned), data)


def _save(model: Model, folder: Path, container: str) -> Path:
    path = model.save(folder, container)
    for change in model.after:
        path = change(folder) or path
    return path


_FOUND: list[Specimen] = []


def kind(
    number: int | str,
    code: str | None,
    title: str,
    *,
    beds: tuple[str, ...] = BEDS,
    containers: tuple[str, ...] = ("folder",),
    variants: tuple[Any, ...] = (None,),
    task: str = "classifier",
) -> Callable[[Plant], Plant]:
    """Register a builder: it changes a healthy run in place. Further containers get the first bed only."""

    def decorate(plant: Plant) -> Plant:
        for bed in beds:
            for container in containers if bed == beds[0] else containers[:1]:
                for variant in variants:
                    _FOUND.append(Specimen(str(number), code, title, bed, container, variant, task, plant))
        return plant

    return decorate


@cache
def _load() -> None:
    for house in _HOUSES:
        importlib.import_module(f"zoo.{house}")


def specimens() -> list[Specimen]:
    """Kinds of failure, by number."""
    _load()
    return sorted((s for s in _FOUND if s.code is not None), key=lambda s: (int(s.kind), s.code))


def lookalikes() -> list[Specimen]:
    """What may raise no alarm."""
    _load()
    return sorted((s for s in _FOUND if s.code is None), key=lambda s: int(s.kind[1:]))


def each_bed() -> Iterator[tuple[str, str]]:
    """Every architecture with every task that a healthy run has."""
    yield from ((bed, task) for bed in BEDS for task in ("classifier", "lm"))
