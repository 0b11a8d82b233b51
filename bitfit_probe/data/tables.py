"""Rows of a table: a mapping from column to value each, whatever the file is.

Bounds come before memory: a small file may hold many equal rows, columns, or one row without an end. A table
is gone through twice, once for its columns and once for its rows, of which no more than a sample is kept.
"""

from __future__ import annotations

import csv
import heapq
import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

from bitfit_probe.errors import DataError, NotFoundError

__all__ = ["MOST_ROWS", "Row", "Rows", "column_names", "read_rows", "read_texts"]

Row = dict[str, Any]

#: Rows that are kept, and characters in them; of what is more, a sample.
MOST_ROWS = 300_000
_MOST_KEPT = 100_000_000
_MOST_COLUMNS = 2_000
#: Characters of one row.
_LONGEST_ROW = 1 << 22
_CHUNK = 1 << 20
_BATCH = 1 << 15
#: Bytes of one row group of a Parquet file, all columns together: what a column of it takes can't be asked,
#: since pyarrow ends the process where a column's description is broken.
_MOST_IN_GROUP = 1 << 30
_SEED = 0


@dataclass(frozen=True)
class Rows:
    """Rows in the file's order, and how many it holds."""

    kept: list[Row]
    seen: int


def column_names(path: Path) -> list[str]:
    """The columns of a CSV, TSV, JSONL, JSON or Parquet file.

    Raises
    ------
    DataError
        It can't be read as such a table.
    """
    kind = path.suffix.lower()
    with _Told(path):
        if kind == ".parquet":
            return _few(_parquet(path).schema_arrow.names)
        if kind in _JSON:
            return _few(name for row in _json_rows(path) for name in row)
        return _few(_header(path))


def read_rows(path: Path, columns: Sequence[str], most: int = MOST_ROWS) -> Rows:
    """The rows with these columns; where there are more than `most`, so many of them at random.

    Raises
    ------
    DataError
        It can't be read as such a table.
    """
    kind = path.suffix.lower()
    sample = _Sample(most)
    with _Told(path):
        if kind == ".parquet":
            return _parquet_rows(path, columns, sample)
        rows = _json_rows(path) if kind in _JSON else _csv_rows(path)
        for row in rows:
            sample.add({name: row[name] for name in columns if name in row})
        return sample.rows()


_JSON = (".jsonl", ".json", ".ndjson")


class _Told:
    """Turn what a reader raises into an error that says what to do."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (ValueError, csv.Error, OSError, RecursionError)):
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise DataError(
                f"can't be read as a table ({why})",
                advice="give CSV, TSV, JSONL or Parquet",
                path=self._path,
            ) from error


class _Sample:
    """A sample of rows without replacement while they come, each as likely as another.

    Each row draws a number, and those with the smallest ones stay (Efraimidis & Spirakis 2006): so the sample
    may become smaller at any time, where its rows are long.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._heap: list[tuple[float, int, Row]] = []
        self._random = random.Random(_SEED)
        self._length = 0
        self.seen = 0

    def add(self, row: Row) -> None:
        self.seen += 1
        draw = -self._random.random()
        if len(self._heap) >= self._most and draw < self._heap[0][0]:
            return
        heapq.heappush(self._heap, (draw, self.seen, row))
        self._length += _length(row)
        while len(self._heap) > self._most or (self._length > _MOST_KEPT and len(self._heap) > 1):
            self._length -= _length(heapq.heappop(self._heap)[2])

    def chosen(self, count: int) -> Sequence[int]:
        """Which of `count` rows to add, where it is known how many there are."""
        if count <= self._most:
            return range(count)
        return sorted(self._random.sample(range(count), self._most))

    def rows(self) -> Rows:
        return Rows([row for _, _, row in sorted(self._heap, key=lambda item: item[1])], self.seen)


def _length(row: Row) -> int:
    return sum(len(str(cell)) if isinstance(cell, (str, list, dict)) else 8 for cell in row.values())


def _few(names: Iterable[str]) -> list[str]:
    found: dict[str, None] = {}
    for name in names:
        found[name] = None
        if len(found) > _MOST_COLUMNS:
            raise ValueError(f"more than {_MOST_COLUMNS:,} columns")
    return list(found)


class _Lines:
    """Lines of a text file, as long as a row has an end; whoever makes rows of them says where one ends."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._length = 0

    def __iter__(self) -> Iterator[str]:
        while line := self._stream.readline(_LONGEST_ROW + 1):
            self._length += len(line)
            if self._length > _LONGEST_ROW:
                raise ValueError(f"a row of more than {_LONGEST_ROW:,} characters")
            yield line

    def row_ends(self) -> None:
        self._length = 0


def _header(path: Path) -> list[str]:
    return next(_cells(path, *_dialect(path)), [])


def _csv_rows(path: Path) -> Iterator[Row]:
    cells = _cells(path, *_dialect(path))
    names = next(cells, [])
    for row in cells:
        found: Row = dict.fromkeys(names[len(row) :])
        found.update(zip(names, row, strict=False))
        yield found


def _dialect(path: Path) -> tuple[str, Literal[0, 3]]:
    """The delimiter, and whether quotation marks are text: many files with tabs have lone ones."""
    if path.suffix.lower() not in {".tsv", ".tab"}:
        return ",", csv.QUOTE_MINIMAL
    try:
        rows = _cells(path, "\t", csv.QUOTE_MINIMAL)
        swallowed = any("\t" in cell and "\n" in cell for row in rows for cell in row)
    except (csv.Error, ValueError):
        swallowed = True
    return "\t", csv.QUOTE_NONE if swallowed else csv.QUOTE_MINIMAL


def _cells(path: Path, delimiter: str, quoting: Literal[0, 3]) -> Iterator[list[str]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        lines = _Lines(stream)
        # Without strict, a quotation mark that is never closed swallows the rest of the file.
        for row in csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True):
            lines.row_ends()
            if row:
                yield row


def _json_rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as stream:
        for row in _values(stream):
            if not isinstance(row, dict):
                raise ValueError("a row is no object")
            if len(row) > _MOST_COLUMNS:
                raise ValueError(f"more than {_MOST_COLUMNS:,} columns")
            yield row


def _values(stream: TextIO) -> Iterator[Any]:
    """A value a line, or the elements of one list."""
    begun = stream.read(_CHUNK).lstrip()
    if begun.startswith("["):
        yield from _elements(begun[1:], stream)
        return
    stream.seek(0)
    lines = _Lines(stream)
    for line in lines:
        lines.row_ends()
        if text := line.strip():
            yield json.loads(text)


def _elements(begun: str, stream: TextIO) -> Iterator[Any]:
    """The elements of a list that has begun, each as soon as it is whole."""
    decoder = json.JSONDecoder()
    held, is_first = begun + stream.read(_CHUNK), True
    while True:
        held = _filled(held, stream)
        if is_first and held.startswith("]"):
            held = held[1:]
            break
        value, at, held = _one(decoder, held, stream)
        yield value
        is_first = False
        held = _filled(held[at:], stream)
        mark, held = held[:1], held[1:]
        if mark == "]":
            break
        if mark != ",":
            raise ValueError("a list that is not closed")
    if _filled(held, stream):
        raise ValueError("more than one list")


def _filled(held: str, stream: TextIO) -> str:
    """`held` from its first character that is no space, with what follows in the file."""
    held = held.lstrip()
    while len(held) < 2 and (more := stream.read(_CHUNK)):
        held = (held + more).lstrip()
    return held


def _one(decoder: json.JSONDecoder, held: str, stream: TextIO) -> tuple[Any, int, str]:
    while True:
        try:
            return *decoder.raw_decode(held), held
        except json.JSONDecodeError:
            more = stream.read(max(_CHUNK, len(held)))
            if not more or len(held) > _LONGEST_ROW:
                raise
            held += more


def _parquet(path: Path) -> Any:
    try:
        from pyarrow.lib import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise DataError("Parquet needs pyarrow", advice="pip install pyarrow", path=path) from error
    try:
        schema = ParquetFile(path).schema_arrow
        texts = [field.name for field in schema if str(field.type) in {"string", "large_string", "binary"}]
        # Equal cells stay one.
        return ParquetFile(path, read_dictionary=texts)
    except ArrowException as error:
        raise ValueError(str(error).partition("\n")[0]) from error


def _parquet_rows(path: Path, columns: Sequence[str], sample: _Sample) -> Rows:
    from pyarrow.lib import ArrowException

    file = _parquet(path)
    _check_groups(file, columns)
    count = file.metadata.num_rows
    chosen = iter(sample.chosen(count))
    try:
        start, at = 0, next(chosen, None)
        for batch in file.iter_batches(_BATCH, columns=list(columns), use_threads=False):
            batch.validate(full=True)  # a broken file's dictionaries may be shorter than what points at them
            here = []
            while at is not None and at < start + len(batch):
                here.append(at - start)
                at = next(chosen, None)
            names = batch.schema.names
            for cells in zip(*(_taken(column, here) for column in batch.columns), strict=True):
                sample.add(dict(zip(names, cells, strict=True)))
            start += len(batch)
    except ArrowException as error:
        raise ValueError(str(error).partition("\n")[0]) from error
    return Rows(sample.rows().kept, count)


def _taken(column: Any, rows: list[int]) -> list[Any]:
    """The cells of these rows; equal ones of a dictionary are one object."""
    if not rows or not hasattr(column, "dictionary"):
        return list(column.take(rows).to_pylist()) if rows else []
    words = column.dictionary.to_pylist()
    return [None if at is None else words[at] for at in column.indices.take(rows).to_pylist()]


def _check_groups(file: Any, columns: Sequence[str]) -> None:
    for name in columns:
        if file.schema_arrow.field(name).type.num_fields:
            raise ValueError(f"column {name!r} holds several values a row")
    groups = (file.metadata.row_group(group) for group in range(file.metadata.num_row_groups))
    if any(group.total_byte_size > _MOST_IN_GROUP for group in groups):
        raise ValueError(f"a row group of more than {_MOST_IN_GROUP:,} bytes; write smaller ones")


def read_texts(path: str | Path) -> tuple[str, ...]:
    """The lines of a text file that hold something; where there are very many, a sample of them.

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
    sample = _Sample(MOST_ROWS)
    try:
        with path.open(encoding="utf-8-sig") as stream:
            lines = _Lines(stream)
            for line in lines:
                lines.row_ends()
                for part in line.splitlines():
                    if part.strip():
                        sample.add({"text": part.strip()})
    except (ValueError, OSError) as error:
        raise DataError(f"can't be read as text ({error})", advice="save it as UTF-8", path=path) from error
    texts = tuple(row["text"] for row in sample.rows().kept)
    if not texts:
        raise DataError("holds no text", advice="give texts, one a line", path=path)
    return texts
