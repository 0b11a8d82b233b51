"""One row a tensor, for spreadsheets and frames."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from bitfit_probe.records import Diff
from bitfit_probe.rendering.words import printable

__all__ = ["csv_text", "diff_to_csv"]

#: A cell that begins like this, spaces aside, is run as a formula by spreadsheets; an apostrophe in front
#: makes it text (https://owasp.org/www-community/attacks/CSV_Injection). Tabs and line breaks do the same,
#: and are written out as in every output.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def diff_to_csv(diff: Diff) -> str:
    """The tensors of every comparison as CSV text; a figure that was not computed is an empty cell.

    The last column repeats how much of the base the comparison covers: rows are there for what was compared.
    """
    rows = []
    for comparison in diff.comparisons:
        for row in comparison.tensors:
            figures = dict(vars(row))
            place = asdict(figures.pop("info"))
            shape = "x".join(map(str, figures.pop("shape"))) or "scalar"
            start = {"tuned": comparison.tuned.path, **place, "shape": shape}
            rows.append({**start, **figures, "base_coverage": comparison.coverage.share})
    return csv_text(rows)


def csv_text(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows with the same keys, in the same order, as CSV text that no spreadsheet runs."""
    out = io.StringIO()
    if rows:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return out.getvalue()


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text
