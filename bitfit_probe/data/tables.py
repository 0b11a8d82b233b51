"""Rows of a table: a mapping from column to value each, whatever the file is."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from bitfit_probe.errors import DataError, NotFoundError

__all__ = ["read_rows", "read_texts"]


def read_rows(path: Path, limit: int | None = None) -> list[dict[str, Any]]:
    """The rows of a CSV, TSV, JSONL, JSON or Parquet file, at most `limit`.

    Raises
    ------
    DataError
        It can't be read as such a table.
    """
    read = {".parquet": _parquet, ".jsonl": _jsonl, ".json": _jsonl, ".ndjson": _jsonl}.get(
        path.suffix.lower(), _csv
    )
    out: list[dict[str, Any]] = []
    try:
        for row in read(path):
            if limit is not None and len(out) >= limit:
                break
            out.append(row)
    except (ValueError, csv.Error, OSError, RecursionError) as error:
        raise DataError(
            f"can't be read as a table ({error})", advice="give CSV, TSV, JSONL or Parquet", path=path
        ) from error
    return out


def _csv(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix.lower() not in {".tsv", ".tab"}:
        yield from _separated(path, ",", csv.QUOTE_MINIMAL)
        return
    # Many tab-separated files have no quoting, and lone quotation marks in their texts.
    try:
        rows = list(_separated(path, "\t", csv.QUOTE_MINIMAL))
    except csv.Error:
        rows = None
    if rows is None or any(_swallowed_lines(row) for row in rows):
        yield from _separated(path, "\t", csv.QUOTE_NONE)
    else:
        yield from rows


def _swallowed_lines(row: dict[str, Any]) -> bool:
    return any("\t" in cell and "\n" in cell for cell in row.values() if cell)


def _separated(path: Path, delimiter: str, quoting: Literal[0, 3]) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        # Without strict, a quotation mark that is never closed swallows the rest of the file.
        for row in csv.DictReader(stream, delimiter=delimiter, quoting=quoting, strict=True):
            yield {key: value for key, value in row.items() if key is not None}


def _jsonl(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig") as stream:
        lines = (line for line in stream if line.strip())
        first = next(lines, "")
        whole = first.lstrip().startswith("[")
        rows = (
            json.loads(first + stream.read()) if whole else map(json.loads, itertools.chain([first], lines))
        )
        for row in rows if first else ():
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
