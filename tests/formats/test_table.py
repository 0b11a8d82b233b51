"""docs/formats.md says what is measured, row by row."""

from __future__ import annotations

import importlib.util

import pytest
from formats import table


@pytest.mark.parametrize("row", table.ROWS, ids=lambda row: row.name)
def test_the_page_says_what_is_so(row: table.Format) -> None:
    for package in row.needs:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    assert table.measured(row) in table.PAGE.read_text(encoding="utf-8").splitlines()


def test_the_page_has_no_other_rows() -> None:
    text = table.PAGE.read_text(encoding="utf-8")
    assert text.startswith(table.HEAD)
    assert text.endswith(table.TAIL)
    names = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")]
    assert names[1:] == [row.name for row in table.ROWS]
