"""Labelled text from CSV, TSV, JSONL or Parquet: which column is what, and what is odd about it."""

from __future__ import annotations

import csv
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from bitfit_probe.errors import DataError, NotFoundError

__all__ = ["Columns", "TaskData", "read_examples", "read_texts"]

_TEXT = (
    "text",
    "sentence",
    "sentence1",
    "question",
    "premise",
    "review",
    "query",
    "utterance",
    "smiles",
    "input",
)
_PAIR = ("text_pair", "sentence2", "hypothesis", "context", "passage", "answer")
_LABEL = ("label", "labels", "class", "target", "category", "y", "score", "intent", "sentiment")
#: More distinct numbers than this are a quantity, not classes.
_MOST_NUMERIC_CLASSES = 20


@dataclass(frozen=True)
class Columns:
    """Which columns to read; None is guessed by name."""

    text: str | None = None
    pair: str | None = None
    label: str | None = None


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
        What a person should know: rows left out, duplicates, imbalance.
    path
        The file.
    """

    texts: tuple[str, ...]
    pairs: tuple[str, ...] | None
    labels: tuple[int, ...] | tuple[float, ...] | None
    label_names: tuple[str, ...]
    task: Literal["classification", "regression", "unlabelled"]
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


def read_examples(path: str | Path, columns: Columns | None = None, *, limit: int | None = None) -> TaskData:
    """Read a table of texts.

    Parameters
    ----------
    path
        ``.csv``, ``.tsv``, ``.jsonl`` / ``.json`` (a list or a line each) or ``.parquet``.
    columns
        Column names; those not given are guessed by name, then a file of two columns is text and label.
    limit
        Read no more rows than this.

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
    rows = _rows(path, limit)
    if not rows:
        raise DataError("holds no rows", advice="give a table with a header and at least one row", path=path)
    found = _columns(list(rows[0]), columns or Columns(), path)
    return _examples(rows, found, path)


def read_texts(path: str | Path) -> tuple[str, ...]:
    """The lines of a text file that hold something.

    Raises
    ------
    NotFoundError
        No such file.
    DataError
        No text in it.
    """
    path = Path(path)
    if not path.is_file():
        raise NotFoundError("no such file", advice="give a file of texts, one a line", path=path)
    try:
        lines = tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines())
    except (UnicodeDecodeError, OSError) as error:
        raise DataError(f"can't be read as text ({error})", advice="save it as UTF-8", path=path) from error
    texts = tuple(line for line in lines if line)
    if not texts:
        raise DataError("holds no text", advice="give texts, one a line", path=path)
    return texts


def _rows(path: Path, limit: int | None) -> list[dict[str, Any]]:
    read = {".parquet": _parquet, ".jsonl": _jsonl, ".json": _jsonl, ".ndjson": _jsonl}.get(
        path.suffix.lower(), _csv
    )
    out: list[dict[str, Any]] = []
    try:
        for row in read(path):
            if limit is not None and len(out) >= limit:
                break
            out.append(row)
    except (ValueError, csv.Error, OSError) as error:
        raise DataError(
            f"can't be read as a table ({error})", advice="give CSV, TSV, JSONL or Parquet", path=path
        ) from error
    return out


def _csv(path: Path) -> Iterator[dict[str, Any]]:
    delimiter = "\t" if path.suffix.lower() in {".tsv", ".tab"} else ","
    with path.open(encoding="utf-8-sig", newline="") as stream:
        for row in csv.DictReader(stream, delimiter=delimiter):
            yield {key: value for key, value in row.items() if key is not None}


def _jsonl(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig") as stream:
        first = stream.read(1)
        stream.seek(0)
        rows = json.load(stream) if first == "[" else (json.loads(line) for line in stream if line.strip())
        for row in rows:
            if not isinstance(row, dict):
                raise ValueError("a row is no object")
            yield row


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    try:
        from pyarrow.lib import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise DataError("Parquet needs pyarrow", advice="pip install pyarrow", path=path) from error
    try:
        for batch in ParquetFile(path).iter_batches():
            yield from batch.to_pylist()
    except ArrowException as error:
        raise ValueError(str(error)) from error


def _columns(names: list[str], wanted: Columns, path: Path) -> Columns:
    for name in (wanted.text, wanted.pair, wanted.label):
        if name is not None and name not in names:
            listed = ", ".join(names[:12])
            raise DataError(f"has no column {name!r}", advice=f"choose among {listed}", path=path)
    free = [name for name in names if name not in {wanted.text, wanted.pair, wanted.label}]
    label = wanted.label or _guess(free, _LABEL)
    free = [name for name in free if name != label]
    text = wanted.text or _guess(free, _TEXT) or (free[0] if len(free) == 1 else None)
    if text is None:
        listed = ", ".join(names[:12])
        raise DataError(
            "no text column was recognised", advice=f"name one of {listed} with --text", path=path
        )
    pair = wanted.pair or _guess([name for name in free if name != text], _PAIR)
    return Columns(text, pair, label)


def _guess(names: list[str], known: Sequence[str]) -> str | None:
    lower = {name.lower(): name for name in names}
    return next((lower[name] for name in known if name in lower), None)


def _examples(rows: list[dict[str, Any]], columns: Columns, path: Path) -> TaskData:
    assert columns.text is not None
    notes: list[str] = []
    kept = [row for row in rows if _filled(row, columns)]
    if len(kept) < len(rows):
        notes.append(f"{len(rows) - len(kept)} of {len(rows)} rows lack a text or label and were left out")
    if not kept:
        raise DataError("every row lacks a text or label", advice="check the columns", path=path)
    texts = tuple(str(row[columns.text]) for row in kept)
    pairs = tuple(str(row.get(columns.pair) or "") for row in kept) if columns.pair else None
    if pairs is not None and not any(pairs):
        pairs = None
    labels, label_names, task = _labels([row[columns.label] for row in kept] if columns.label else None)
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


def _filled(row: dict[str, Any], columns: Columns) -> bool:
    wanted = [columns.text] + ([columns.label] if columns.label else [])
    return all(str(row.get(name) if row.get(name) is not None else "").strip() for name in wanted if name)


_Task = Literal["classification", "regression", "unlabelled"]


def _labels(
    raw: list[Any] | None,
) -> tuple[tuple[int, ...] | tuple[float, ...] | None, tuple[str, ...], _Task]:
    if raw is None:
        return None, (), "unlabelled"
    numbers = [_number(value) for value in raw]
    known = [number for number in numbers if number is not None]
    if len(known) == len(raw):
        whole = all(number.is_integer() for number in known)
        if not whole and len(set(known)) > _MOST_NUMERIC_CLASSES:
            return tuple(known), (), "regression"
    names = Counter(str(value) for value in raw)
    numeric = all(_number(name) is not None for name in names)
    ordered = tuple(sorted(names, key=(lambda name: (_number(name) or 0.0, name)) if numeric else None))
    place = {name: number for number, name in enumerate(ordered)}
    return tuple(place[str(value)] for value in raw), ordered, "classification"


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if number == number and abs(number) != float("inf") else None
