"""BP6xx, and BP112 and BP113: the method's limits, and copies that should be equal."""

from __future__ import annotations

import math

import pytest
import torch
from support.builders import biases, move, state
from support.checking import codes, only, run_rules
from support.pairs import bitfit, shifted, write_pair

# No biases ----------------------------------------------------------------------------------------


def test_biases_lost_beside_their_weights(tmp_path):
    base, tuned = bitfit()
    left = {name: tensor for name, tensor in tuned.items() if name not in biases(base)}
    found = only(*write_pair(tmp_path, base, left), code="BP601")
    assert found.severity == "error"
    assert found.evidence[0].value == len(biases(base))


def test_a_lost_pooler_is_no_lost_bias(tmp_path):
    base, tuned = bitfit()
    left = {name: tensor for name, tensor in tuned.items() if ".layer.1." not in name}
    assert "BP601" not in codes(*write_pair(tmp_path, base, left))


@pytest.mark.parametrize(
    ("tuned", "claim", "severity"),
    [
        (lambda base: move(base, *base), {}, "info"),
        (lambda base: move(base, *base), {"method": "bitfit"}, "error"),
        (lambda base: move(base, "lm_head.weight"), {}, "warning"),
    ],
)
def test_an_architecture_without_biases(tmp_path, tuned, claim, severity):
    base = state("llama")
    paths = write_pair(tmp_path, base, tuned(base), "llama", run__json=claim)
    assert only(*paths, code="BP601").severity == severity
    assert "BP205" not in codes(*paths)


def test_with_biases_nothing_is_said(tmp_path):
    assert not [item for item in run_rules(*write_pair(tmp_path, *bitfit())).findings if item.code == "BP601"]


# Copies -------------------------------------------------------------------------------------------


def three(folder, change):
    """A base, a run, and a copy of the run that `change` altered."""
    base, tuned = bitfit()
    ours, theirs = write_pair(folder / "a", base, tuned)
    _, copy = write_pair(folder / "b", base, change(tuned))
    return ours, theirs, copy


NORM = "bert.embeddings.LayerNorm.weight"


def test_a_live_state_that_differs_in_a_norm(tmp_path):
    paths = three(tmp_path, lambda tuned: shifted(tuned, 1.0, NORM))
    assert codes(*paths)[0] == "BP112"
    assert only(*paths, code="BP112").subjects == (NORM,)


def test_the_same_state_twice_is_fine(tmp_path):
    assert codes(*three(tmp_path, lambda tuned: dict(tuned))) == []


def test_two_steps_of_a_run_are_no_copies(tmp_path):
    later = three(tmp_path, lambda tuned: move(tuned, *[n for n in biases(tuned) if "key" not in n]))
    assert "BP112" not in codes(*later)


def ranks(folder, names, change):
    ours, theirs, copy = three(folder, change)
    first, second = (folder / name for name in names)
    (theirs / "model.safetensors").rename(first)
    (copy / "model.safetensors").rename(second)
    return ours, first, second


RANKS = ("model_rank0.safetensors", "model_rank1.safetensors")


def diverged(tuned):
    return shifted(tuned, 0.1, NORM)


def test_ranks_that_differ(tmp_path):
    base, first, second = ranks(tmp_path, RANKS, diverged)
    assert codes(base, first, second)[0] == "BP113"
    assert "BP112" not in codes(base, first, second)


def test_the_other_rank_is_found_beside(tmp_path):
    base, first, _ = ranks(tmp_path, RANKS, diverged)
    assert only(base, first, code="BP113").subjects == RANKS


def test_ranks_that_agree(tmp_path):
    assert codes(*ranks(tmp_path, RANKS, dict)) == []


@pytest.mark.parametrize("names", [("mp_rank_00.pt", "mp_rank_01.pt"), ("franka1.pt", "franka2.pt")])
def test_shares_of_a_model_are_no_copies(tmp_path, names):
    base, first, second = ranks(tmp_path, names, diverged)
    assert "BP113" not in codes(base, first, second)


# With data ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "questions.csv"
    rows = ["What is a whale ?", "Who wrote this book ?", "How many ships sailed ?", "Where is the sea ?"]
    path.write_text("text,label\n" + "\n".join(f"{row},x" for row in rows) + "\n")
    return path


@pytest.fixture(scope="module")
def sample_copies(tmp_path_factory):
    """The embedded pair, and the tuned side with every encoder matrix blown up or its output cut off."""
    import shutil

    from safetensors.torch import load_file, save_file

    from bitfit_probe import sample

    folder = tmp_path_factory.mktemp("sample")
    out = {"base": sample.base_path(), "tuned": sample.tuned_path()}
    weights = load_file(sample.tuned_path() / "model.safetensors")
    random = torch.Generator().manual_seed(0)
    wild = {
        name: tensor + torch.randn(tensor.shape, generator=random) if tensor.ndim == 2 else tensor
        for name, tensor in weights.items()
    }
    for label, tensors in (("wild", wild), ("deaf", weights | {"classifier.weight": torch.zeros(6, 128)})):
        shutil.copytree(sample.tuned_path(), folder / label)
        save_file(tensors, folder / label / "model.safetensors", metadata={"format": "pt"})
        out[label] = folder / label
    return out


def read(path):
    from bitfit_probe.data import read_examples

    return read_examples(path)


def test_a_classifier_that_answers_alike(sample_copies, questions):
    found = only(sample_copies["base"], sample_copies["deaf"], data=read(questions), code="BP308")
    assert found.evidence[1].value == 0.0
    assert codes(sample_copies["base"], sample_copies["tuned"], data=read(questions)) == []


def test_a_body_that_forgot(sample_copies, questions):
    found = only(sample_copies["base"], sample_copies["wild"], data=read(questions), code="BP602")
    before, after, guessing = (item.value for item in found.evidence)
    assert found.severity == "warning"
    assert guessing == pytest.approx(math.log(4096))
    assert before < guessing < after


def test_what_transformers_loads_is_the_file(sample_copies, questions):
    from bitfit_probe.pair import Pair
    from bitfit_probe.rules import check

    pair = Pair.open(sample_copies["base"], sample_copies["tuned"], data=read(questions))
    found = check([pair])
    assert "BP112" in found.checked
    assert "BP112" not in {item.code for item in found.findings}
    pair.live("tuned").model.bert.embeddings.LayerNorm.weight.fill_(1)  # as a careless loader would
    (found,) = (item for item in check([pair]).findings if item.code == "BP112")
    assert found.subjects == (NORM,)


def test_without_data_it_is_not_checked(sample_copies):
    found = run_rules(sample_copies["base"], sample_copies["tuned"])
    assert ("BP602", "no --data given") in [(item.code, item.why) for item in found.not_checked]
