"""The split, the tokens, the weights and the marks, against sklearn, scipy and closed forms."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr
from sklearn.metrics import accuracy_score, f1_score, root_mean_squared_error
from sklearn.utils.class_weight import compute_class_weight
from tuning.tiny import tokenizer

from bitfit_probe.data import Columns, TaskData
from bitfit_probe.errors import DataError
from bitfit_probe.tuning.encode import balanced_weights, collator, encode, metrics, split
from bitfit_probe.tuning.train import _weighted


def task(labels, names=("a", "b", "c"), pairs=None):
    texts = tuple(f"w{number % 60}" for number in range(len(labels)))
    return TaskData(texts, pairs, tuple(labels), names, "classification", Columns())


@given(st.lists(st.integers(0, 2), min_size=30, max_size=80), st.sampled_from([0.1, 0.25, 0.5]))
def test_every_class_is_held_out_in_its_proportion(labels, share):
    data = task(labels)
    kept, held = split(data, share, 3)
    assert sorted(kept.texts + held.texts) == sorted(data.texts)
    for label in set(labels):
        assert held.labels.count(label) == round(share * labels.count(label))


def test_the_split_is_the_seed_s():
    data = task([0, 1] * 20)
    assert split(data, 0.2, 1)[1].texts == split(data, 0.2, 1)[1].texts
    assert split(data, 0.2, 1)[1].texts != split(data, 0.2, 2)[1].texts
    assert split(data, 0.0, 1) == (data, None)


def test_too_few_to_hold_any_out():
    with pytest.raises(DataError, match="eval-split 0"):
        split(task([0, 1, 2]), 0.1, 0)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=50))
def test_balanced_weights_are_sklearn_s(labels):
    weights = balanced_weights(labels, 4)
    present = np.unique(labels)
    expected = compute_class_weight("balanced", classes=present, y=labels)
    # sklearn counts the classes that occur, a head has all of them.
    assert [weights[label] for label in present] == pytest.approx(expected * len(present) / 4)
    assert all(weights[label] == 0 for label in range(4) if label not in present)


def test_weights_reach_the_loss():
    logits, labels = torch.tensor([[2.0, 0.0], [0.5, 1.0], [1.0, 1.0]]), torch.tensor([0, 1, 1])
    weights = np.array([3.0, 0.5])
    p = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True)
    each = -np.log(p[np.arange(3), labels])
    by_hand = (weights[labels] * each).sum() / weights[labels].sum()
    assert float(_weighted([3.0, 0.5])({"logits": logits}, labels)) == pytest.approx(by_hand, rel=1e-6)


def test_texts_are_cut_and_counted_and_batches_padded_to_their_own_longest():
    data = TaskData(
        ("w1 w2 w3 w4 w5", "w1", "w2 w3"), None, (0, 1, 0), ("a", "b"), "classification", Columns()
    )
    encoded = encode(data, tokenizer(), "classify", 5)
    assert [len(row["input_ids"]) for row in encoded.rows] == [5, 3, 4]
    assert encoded.cut == 1
    batch = collator(tokenizer(), "classify")(encoded.rows[1:])
    assert batch["input_ids"].shape == (2, 4)
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert batch["labels"].tolist() == [1, 0]


def test_pairs_are_two_segments():
    data = task([0], pairs=("w5 w6",))
    segments = tokenizer()
    segments.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    (row,) = encode(data, segments, "classify", 24).rows
    assert len(row["input_ids"]) == 1 + 1 + 1 + 2 + 1
    assert row["token_type_ids"] == [0, 0, 0, 1, 1, 1]


def test_a_masked_language_model_predicts_masked_words_only():
    data = TaskData(
        tuple("w1 w2 w3 w4 w5 w6 w7 w8" for _ in range(50)), None, None, (), "unlabelled", Columns()
    )
    torch.manual_seed(0)
    encoded = encode(data, tokenizer(), "masked-lm", 24)
    batch = collator(tokenizer(), "masked-lm")(encoded.rows)
    asked = batch["labels"] != -100
    truth = torch.tensor([row["input_ids"] for row in encoded.rows])
    assert 0.1 < float(asked[:, 1:-1].float().mean()) < 0.2  # 15 % (Devlin et al. 2019, §3.1)
    assert torch.equal(batch["labels"][asked], truth[asked])
    causal = collator(tokenizer(), "causal-lm")(encoded.rows)
    assert torch.equal(causal["labels"], truth)


@given(st.integers(0, 10_000))
def test_marks_are_those_of_sklearn_and_scipy(seed):
    random = np.random.default_rng(seed)
    logits, labels = random.normal(size=(40, 4)), random.integers(0, 4, 40)
    marks = metrics("classify")(SimpleNamespace(predictions=logits, label_ids=labels))
    assert marks["accuracy"] == accuracy_score(labels, logits.argmax(1))
    assert marks["macro_f1"] == pytest.approx(f1_score(labels, logits.argmax(1), average="macro"))
    said, true = random.normal(size=(40, 1)), random.normal(size=40)
    marks = metrics("regress")(SimpleNamespace(predictions=said, label_ids=true))
    assert marks["rmse"] == pytest.approx(root_mean_squared_error(true, said[:, 0]))
    assert marks["pearson"] == pytest.approx(pearsonr(true, said[:, 0]).statistic)


def test_a_constant_prediction_has_no_correlation():
    marks = metrics("regress")(SimpleNamespace(predictions=np.ones((5, 1)), label_ids=np.arange(5)))
    assert marks["pearson"] == 0.0
    assert metrics("masked-lm") is None
