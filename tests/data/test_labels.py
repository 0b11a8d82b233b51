"""Classes or quantities, in which order, and which of the model's they are."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitfit_probe.data import Columns, TaskData, read_examples
from bitfit_probe.data.labels import class_places
from bitfit_probe.errors import DataError


def labelled(tmp_path, *labels):
    path = tmp_path / "data.csv"
    path.write_text("text,label\n" + "".join(f"t{n},{label}\n" for n, label in enumerate(labels)))
    return read_examples(path)


def test_numbers_are_ordered_by_value_not_as_words(tmp_path):
    found = labelled(tmp_path, 10, 9, 2, 10)
    assert found.label_names == ("2", "9", "10")
    assert found.labels == (2, 1, 0, 2)


def test_words_are_ordered_by_the_alphabet(tmp_path):
    assert labelled(tmp_path, "pos", "neg", "Neutral").label_names == ("Neutral", "neg", "pos")


def test_many_whole_numbers_are_classes_and_many_fractions_quantities(tmp_path):
    assert labelled(tmp_path, *range(77)).task == "classification"
    found = labelled(tmp_path, *(number / 8 for number in range(21)))
    assert found.task == "regression"
    assert found.labels == tuple(number / 8 for number in range(21))
    assert labelled(tmp_path, 0.5, 1.5, 2).task == "classification"  # until the model says otherwise


def test_a_float_column_with_gaps_holds_whole_classes(tmp_path):
    path = tmp_path / "data.parquet"
    pd.DataFrame({"text": ["a", "b", "c"], "label": [1.0, None, 0.0]}).to_parquet(path)
    found = read_examples(path)
    assert (found.texts, found.label_names, found.labels) == (("a", "c"), ("0", "1"), (1, 0))


def test_booleans_and_leading_zeros_are_names(tmp_path):
    assert labelled(tmp_path, True, False).label_names == ("False", "True")
    assert labelled(tmp_path, "007", "7").label_names == ("007", "7")


def test_without_a_label_column(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("text\na\nb\n")
    found = read_examples(path)
    assert (found.task, found.labels) == ("unlabelled", None)
    with pytest.raises(DataError, match="no labels"):
        found.class_numbers({0: "a"})
    with pytest.raises(DataError, match="no numbers"):
        found.quantities()


@pytest.mark.parametrize(
    ("ours", "model", "expected"),
    [
        (["neg", "pos"], {0: "pos", 1: "neg"}, [1, 0]),  # names win over order
        (["NEG", "pos"], {0: "Pos", 1: "neg"}, [1, 0]),  # in any case of letters
        (["entity"], {0: "location", 1: "entity", 2: "number"}, [1]),  # a sample lacks some classes
        (["0", "2"], {0: "a", 1: "b", 2: "c"}, [0, 2]),  # class numbers
        (["0", "2"], {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}, [0, 2]),
        (["1", "2", "3"], {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}, [0, 1, 2]),  # stars from 1 on
        (["no", "yes"], {0: "LABEL_0", 1: "LABEL_1"}, [0, 1]),  # the model has no names
        (["LABEL_1"], {0: "LABEL_0", 1: "LABEL_1"}, [1]),
        (["no", "yes"], {0: "good", 1: "bad"}, None),
        (["no", "yes"], {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}, None),
        (["1", "2", "3"], {0: "LABEL_0", 1: "LABEL_1"}, None),
        (["pos"], {0: "Pos", 1: "POS"}, None),  # which of both?
    ],
)
def test_labels_are_the_models_where_they_can_be(ours, model, expected):
    assert class_places(ours, model) == expected


@given(st.lists(st.text("abcXYZ", min_size=1), unique_by=str.casefold, min_size=1), st.randoms())
def test_names_are_found_whatever_their_order(names, random):
    shuffled = random.sample(names, len(names))
    infos = class_places(names, dict(enumerate(shuffled)))
    assert infos is not None
    assert [shuffled[info] for info in infos] == names


def test_labels_that_are_not_the_models_name_both_sets(tmp_path):
    found = labelled(tmp_path, "no", "yes", *"abcdefgh")
    with pytest.raises(DataError, match=r"a, b, c, d, e, f, g, h and 2 more.*good, bad") as caught:
        found.class_numbers({0: "good", 1: "bad"})
    assert caught.value.code == "BE401"


def test_class_numbers_follow_the_model(tmp_path):
    assert labelled(tmp_path, "pos", "neg", "pos").class_numbers({0: "pos", 1: "neg"}) == (0, 1, 0)


def test_quantities_of_few_values(tmp_path):
    assert labelled(tmp_path, 2.5, 1, 2.5).quantities() == (2.5, 1.0, 2.5)
    with pytest.raises(DataError, match="no numbers"):
        labelled(tmp_path, "a", "b").quantities()
    with pytest.raises(DataError, match="no classes but numbers"):
        labelled(tmp_path, *(number / 8 for number in range(21))).class_numbers({0: "x"})


def test_samples_are_random_repeatable_and_in_order():
    data = TaskData(
        tuple(map(str, range(100))), None, tuple(range(100)), (), "regression", Columns("text", None, "label")
    )
    first, again, other = data.sample(10), data.sample(10), data.sample(10, seed=1)
    assert first == again != other
    assert len(set(first.texts)) == 10
    assert list(first.labels) == sorted(first.labels)
    assert tuple(map(str, first.labels)) == first.texts
    assert data.sample(1000) is data
