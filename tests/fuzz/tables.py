"""The target of tables: a suffix in the first line, and the file."""

from __future__ import annotations

from pathlib import Path

from home import HOME

from bitfit_probe.data import read_examples, read_texts
from bitfit_probe.errors import BitfitProbeError
from bitfit_probe.rendering import printable

__all__ = ["table"]

_SUFFIXES = ("csv", "tsv", "tab", "json", "jsonl", "ndjson", "parquet", "txt")
_MODEL = {0: "negative", 1: "positive"}


def table(data: bytes) -> None:
    """Read it whole and in part, and ask for what a model would be given."""
    name, _, content = data.partition(b"\n")
    suffix = name.decode("latin-1")
    path = HOME / f"table.{suffix if suffix in _SUFFIXES else 'csv'}"
    path.write_bytes(content)
    for ask in (_examples, _part, _texts):
        told = ""
        try:
            ask(path)
        except BitfitProbeError as error:
            told = printable(str(error))
        assert len(told.encode()) < 4096, "an error fits on a screen"


def _examples(path: Path) -> None:
    found = read_examples(path)
    count = len(found)
    assert count == len(found.texts) > 0
    assert all(text.strip() for text in found.texts), "rows without a text are left out"
    assert found.labels is None or len(found.labels) == count
    assert found.pairs is None or len(found.pairs) == count
    if found.task == "classification":
        assert set(found.labels or ()) == set(range(len(found.label_names)))
    assert len(found.sample(1)) == 1
    for ask in (lambda: found.class_numbers(_MODEL), found.quantities):
        try:
            assert len(ask()) == count
        except BitfitProbeError as error:
            printable(str(error)).encode()


def _part(path: Path) -> None:
    """No more rows than asked for."""
    assert len(read_examples(path, most=2)) <= 2


def _texts(path: Path) -> None:
    assert all(read_texts(path))
