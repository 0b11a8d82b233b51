"""Labelled text from CSV, TSV, JSONL or Parquet: which column is what, and what is odd about it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bitfit_probe.data.columns import Columns, choose_columns
from bitfit_probe.data.labels import Labels, Task, class_places, listed, number, read_labels
from bitfit_probe.data.tables import MOST_ROWS, Row, column_names, read_rows, read_texts
from bitfit_probe.errors import DataError, NotFoundError

__all__ = ["Columns", "TaskData", "as_examples", "read_examples", "read_texts"]


@dataclass(frozen=True)
class TaskData:
    """Texts with what should come out for them.

    Attributes
    ----------
    texts
        The texts, or the first of each pair.
    pairs
        The second texts, or None.
    labels
        Class numbers (int, into `label_names`) or quantities (float); None where there is no label column.
    label_names
        Names of the classes, sorted (numbers by value); empty for a regression.
    task
        ``classification``, ``regression`` or ``unlabelled``.
    columns
        The columns that were read.
    notes
        What a person should know: rows left out, texts that come more than once.
    path
        The file.
    """

    texts: tuple[str, ...]
    pairs: tuple[str, ...] | None
    labels: Labels
    label_names: tuple[str, ...]
    task: Task
    columns: Columns
    notes: tuple[str, ...] = ()
    path: str = ""

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, which: Sequence[int]) -> TaskData:
        """The examples with these numbers, in this order."""
        return replace(
            self,
            texts=tuple(self.texts[i] for i in which),
            pairs=None if self.pairs is None else tuple(self.pairs[i] for i in which),
            labels=None if self.labels is None else tuple(self.labels[i] for i in which),
        )

    def sample(self, count: int, seed: int = 0) -> TaskData:
        """At most `count` examples at random, without replacement, in the file's order."""
        if count >= len(self):
            return self
        return self.take(sorted(random.Random(seed).sample(range(len(self)), count)))

    def class_numbers(self, id2label: Mapping[int, str]) -> tuple[int, ...]:
        """The labels as a model's class numbers.

        Names that the model knows decide, in any case of letters; numbers that are class numbers are
        those; else as many classes as the model has are taken in order.

        Parameters
        ----------
        id2label
            The model's names by class number, as in its config.json.

        Raises
        ------
        DataError
            The labels are no classes, or none of this holds.
        """
        if self.labels is None or self.task != "classification":
            raise DataError(
                f"holds no classes but {'numbers' if self.labels else 'no labels'}",
                advice="name the column of the classes with --label",
                path=self.path,
            )
        place = class_places(self.label_names, id2label)
        if place is None:
            ours, theirs = listed(self.label_names), listed(id2label.values())
            raise DataError(
                f"its labels ({ours}) are not the model's ({theirs})",
                advice="name the right column with --label, or give the model these were trained for",
                path=self.path,
            )
        return tuple(place[int(label)] for label in self.labels)

    def quantities(self) -> tuple[float, ...]:
        """The labels as numbers.

        Raises
        ------
        DataError
            There are none, or some are words.
        """
        numbers = [number(name) for name in self.label_names]
        if self.labels is None or None in numbers:
            raise DataError(
                "its labels are no numbers, as the model's one output wants",
                advice="name the column of the numbers with --label",
                path=self.path,
            )
        if self.task == "regression":
            return tuple(float(label) for label in self.labels)
        return tuple(numbers[int(label)] or 0.0 for label in self.labels)


def as_examples(data: str | Path | TaskData, columns: Columns | None = None) -> TaskData:
    """Examples as they are, or read from their file; see :func:`read_examples`."""
    return read_examples(data, columns) if isinstance(data, (str, Path)) else data


def read_examples(path: str | Path, columns: Columns | None = None, *, most: int = MOST_ROWS) -> TaskData:
    """Read a table of texts.

    Parameters
    ----------
    path
        ``.csv``, ``.tsv``, ``.jsonl`` / ``.json`` (a list or a line each) or ``.parquet``.
    columns
        Column names; those not given are guessed by name, then a file of two columns is text and label.
    most
        Keep no more rows than this; where there are more, so many at random (seed 0), and a note says so.

    Returns
    -------
    TaskData
        Labels are classes, unless they are numbers of which more than 20 differ and some aren't whole.

    Raises
    ------
    NotFoundError
        No such file.
    DataError
        No table, no rows, or no such column.
    """
    path = Path(path)
    if not path.is_file():
        raise NotFoundError("no such file", advice="give a CSV, TSV, JSONL or Parquet file", path=path)
    names = column_names(path)
    found = choose_columns(names, columns or Columns(), path) if names else Columns()
    wanted = [name for name in (found.text, found.pair, found.label) if name is not None]
    rows = read_rows(path, wanted, most)
    if not names or not rows.kept:
        raise DataError("holds no rows", advice="give a table with a header and at least one row", path=path)
    note = f"{len(rows.kept):,} of {rows.seen:,} rows were read, chosen at random"
    return _examples(rows.kept, found, path, [note] if len(rows.kept) < rows.seen else [])


def _examples(rows: list[Row], columns: Columns, path: Path, notes: list[str]) -> TaskData:
    assert columns.text is not None
    notes = [*notes, *_mended(rows)]
    kept = [row for row in rows if _filled(row, columns)]
    if len(kept) < len(rows):
        notes.append(f"{len(rows) - len(kept)} of {len(rows)} rows lack a text or label and were left out")
    if not kept:
        raise DataError("every row lacks a text or label", advice="check the columns", path=path)
    texts = tuple(str(row[columns.text]) for row in kept)
    pairs = tuple(str(row.get(columns.pair) or "") for row in kept) if columns.pair else None
    if pairs is not None and not any(pairs):
        pairs = None
    raw = [row[columns.label] for row in kept] if columns.label else None
    if any(isinstance(value, (list, dict)) for value in raw or ()):
        raise DataError(
            f"column {columns.label!r} holds several labels a text",
            advice="give one label a text",
            path=path,
        )
    labels, label_names, task = read_labels(raw)
    notes += _repeats(texts, pairs, labels)
    return TaskData(
        texts=texts,
        pairs=pairs,
        labels=labels,
        label_names=label_names,
        task=task,
        columns=replace(columns, pair=columns.pair if pairs else None),
        notes=tuple(notes),
        path=str(path),
    )


def _mended(rows: list[Row]) -> list[str]:
    """Put the replacement character for halves of a surrogate pair, which no tokenizer takes."""
    torn = 0
    for row in rows:
        broken = [name for name, cell in row.items() if isinstance(cell, str) and not _is_text(cell)]
        for name in broken:
            row[name] = row[name].encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        torn += bool(broken)
    return [f"{torn} of {len(rows)} rows hold halves of characters, which were replaced"] if torn else []


def _is_text(cell: str) -> bool:
    if cell.isascii():
        return True
    try:
        cell.encode()
    except UnicodeEncodeError:
        return False
    return True


def _filled(row: dict[str, Any], columns: Columns) -> bool:
    wanted = [name for name in (columns.text, columns.label) if name is not None]
    return all(_has_value(row.get(name)) for name in wanted)


def _has_value(cell: Any) -> bool:
    missing = cell is None or cell != cell  # NaN
    return not missing and bool(str(cell).strip())


def _repeats(texts: tuple[str, ...], pairs: tuple[str, ...] | None, labels: Labels) -> list[str]:
    keys = list(zip(texts, pairs, strict=True)) if pairs else list(texts)
    seen: dict[Any, set[float | None]] = {}
    for row, key in enumerate(keys):
        seen.setdefault(key, set()).add(labels[row] if labels else None)
    notes = []
    if len(seen) < len(keys):
        notes.append(f"{len(keys) - len(seen)} of {len(keys)} rows repeat the text of another row")
    torn = sum(len(found) > 1 for found in seen.values())
    if torn:
        notes.append(f"{torn} of these texts come with different labels")
    return notes
