"""Which column is the text, the second text, the label."""

from __future__ import annotations

import pytest

from bitfit_probe.data import Columns, read_examples
from bitfit_probe.errors import DataError


def columns(tmp_path, header, wanted=None):
    path = tmp_path / "data.csv"
    path.write_text(header + "\n" + ",".join("abcdefgh"[: header.count(",") + 1]) + "\n")
    return read_examples(path, wanted).columns


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("text,label", ("text", None, "label")),
        ("Label,Text", ("Text", None, "Label")),
        ("idx,sentence1,sentence2,label", ("sentence1", "sentence2", "label")),
        ("premise,hypothesis,label", ("premise", "hypothesis", "label")),
        ("question,answer", ("question", "answer", None)),
        ("smiles,y", ("smiles", None, "y")),
        ("comment,stars", ("comment", None, "stars")),  # two columns are text and label
        ("comment,label", ("comment", None, "label")),
        ("id,text", ("text", None, None)),  # numbering the rows is no label
        ("comment", ("comment", None, None)),
        ("text,source,label", ("text", None, "label")),
    ],
)
def test_columns_are_guessed_by_name(tmp_path, header, expected):
    assert columns(tmp_path, header) == Columns(*expected)


def test_columns_that_are_given_win(tmp_path):
    wanted = Columns(text="b", label="text")
    assert columns(tmp_path, "text,a,b,label", wanted) == Columns("b", None, "text")
    assert columns(tmp_path, "foo,bar,label", Columns(text="foo", pair="bar")) == Columns(
        "foo", "bar", "label"
    )


def test_a_given_column_that_is_absent_is_named_with_the_others(tmp_path):
    with pytest.raises(DataError, match=r"no column 'x'; choose among text, label"):
        columns(tmp_path, "text,label", Columns(text="x"))


def test_pairs(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("sentence1,sentence2,label\na,b,1\nc,,0\n")
    found = read_examples(path)
    assert (found.texts, found.pairs) == (("a", "c"), ("b", ""))


def test_a_column_of_empty_second_texts_makes_no_pairs(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("text,text_pair,label\na,,1\nc,,0\n")
    found = read_examples(path)
    assert (found.pairs, found.columns.pair) == (None, None)


def test_texts_that_repeat_are_noted(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("text,label\na,1\na,0\nb,1\nb,1\n")
    assert read_examples(path).notes == (
        "2 of 4 rows repeat the text of another row",
        "1 of these texts come with different labels",
    )
