"""Tables of every kind give the same examples; broken ones are errors with a code."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from bitfit_probe.data import Columns, read_examples
from bitfit_probe.errors import DataError, NotFoundError

ROWS = [("good film", "yes"), ('a "quoted", word', "no"), ("naïve ☃", "yes")]
FRAME = pd.DataFrame(ROWS, columns=["text", "label"])


FORMS = {
    ".csv": lambda frame, path: frame.to_csv(path, index=False),
    ".tsv": lambda frame, path: frame.to_csv(path, index=False, sep="\t"),
    ".jsonl": lambda frame, path: frame.to_json(path, orient="records", lines=True, force_ascii=False),
    ".json": lambda frame, path: frame.to_json(path, orient="records", force_ascii=False),
    ".parquet": lambda frame, path: frame.to_parquet(path),
}


def write(folder, ending):
    path = folder / f"data{ending}"
    FORMS[ending](FRAME, path)
    return path


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".json", ".parquet"])
def test_every_kind_of_table(tmp_path, ending):
    found = read_examples(write(tmp_path, ending))
    assert found.texts == tuple(text for text, _ in ROWS)
    assert found.labels == (1, 0, 1)
    assert found.label_names == ("no", "yes")
    assert (found.task, found.pairs, found.notes) == ("classification", None, ())
    assert found.columns == Columns("text", None, "label")


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    path = tmp_path / "bom.csv"
    path.write_bytes("\ufefftext,label\r\nhello,1\r\n".encode())
    assert read_examples(path).columns.text == "text"
    lines = tmp_path / "bom.jsonl"
    lines.write_bytes('\ufeff{"text": "hello", "label": 1}\n'.encode())
    assert read_examples(lines).texts == ("hello",)


def test_json_may_begin_with_blank_lines(tmp_path):
    path = tmp_path / "data.json"
    path.write_text('\n \n[{"text": "a", "label": 0},\n {"text": "b", "label": 1}]')
    assert read_examples(path).texts == ("a", "b")


def test_a_line_break_inside_a_quoted_cell(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text('text,label\n"two\nlines",a\nplain,b\n')
    assert read_examples(path).texts == ("two\nlines", "plain")


def test_tab_separated_without_quoting_keeps_its_quotation_marks(tmp_path):
    """As in the GLUE files: a lone mark would swallow all that follows it."""
    path = tmp_path / "data.tsv"
    path.write_text('sentence\tlabel\n"unclosed\t1\nnext\t0\nmore "\t1\n')
    found = read_examples(path)
    assert found.texts == ('"unclosed', "next", 'more "')
    assert found.labels == (1, 0, 1)


def test_a_mark_that_is_never_closed_in_a_csv_is_an_error(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text('text,label\n"unclosed,1\nnext,0\n')
    with pytest.raises(DataError, match="can't be read as a table"):
        read_examples(path)


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".json", ".parquet"])
def test_no_more_rows_are_kept_than_asked_for_and_each_as_likely(tmp_path, ending):
    path = tmp_path / f"data{ending}"
    frame = pd.DataFrame(
        {"text": [f"number {i}" for i in range(2000)], "label": [i % 2 for i in range(2000)]}
    )
    FORMS[ending](frame, path)
    found = read_examples(path, most=500)
    numbers = [int(text.split()[1]) for text in found.texts]
    assert len(set(numbers)) == 500
    assert numbers == sorted(numbers)
    assert [number % 2 for number in numbers] == list(found.labels)
    # The mean of 500 of 2,000 without replacement: 999.5, standard error 577 · √(0.75 / 500) = 22.
    assert abs(sum(numbers) / 500 - 999.5) < 5 * 22.4
    assert found.notes == ("500 of 2,000 rows were read, chosen at random",)
    assert read_examples(path, most=500).texts == found.texts
    assert read_examples(path, most=2000).notes == ()


def test_rows_of_jsonl_may_lack_keys(tmp_path):
    path = tmp_path / "data.jsonl"
    rows = [{"text": "a"}, {"text": "b", "label": "x"}, {"label": "x"}, {"text": "c", "label": None}]
    path.write_text("\n".join(map(json.dumps, rows)))
    found = read_examples(path)
    assert (found.texts, found.label_names) == (("b",), ("x",))
    assert found.notes == ("3 of 4 rows lack a text or label and were left out",)


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("empty.csv", b"", "no rows"),
        ("header.csv", b"text,label\n", "no rows"),
        ("empty.jsonl", b"\n\n", "no rows"),
        ("list.json", b"[]", "no rows"),
        ("blank.csv", b"text,label\n ,1\n", "every row lacks"),
        ("latin.csv", "text,label\ncaf\xe9,1\n".encode("latin-1"), "can't be read as a table"),
        ("broken.jsonl", b'{"text": "a"', "can't be read as a table"),
        ("words.jsonl", b'"just a word"\n', "a row is no object"),
        ("deep.json", b"[" * 100_000, "can't be read as a table"),
        ("broken.parquet", b"PAR1 and nothing else", "can't be read as a table"),
        ("many.jsonl", b'{"text": "a", "label": ["x", "y"]}\n', "several labels"),
        ("unknown.csv", b"foo,bar,baz\n1,2,3\n", "no text column"),
    ],
)
def test_bad_tables_are_errors_of_one_line(tmp_path, name, content, why):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=why) as caught:
        read_examples(path)
    assert caught.value.code == "BE401"
    assert name in str(caught.value)


def test_no_such_file(tmp_path):
    with pytest.raises(NotFoundError) as caught:
        read_examples(tmp_path / "none.csv")
    assert caught.value.code == "BE101"
