"""BP603 and BP604: with labelled examples, the score itself is looked at."""

from __future__ import annotations

import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.checking import only, run_rules
from support.planted import planted_pair


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return planted_pair(tmp_path_factory.mktemp("planted"))


def with_head(pair, change):
    """The tuned folder with another head; put back after use by the next call."""
    path = pair[1] / "model.safetensors"
    tensors = load_file(pair[0] / "model.safetensors") | load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


SCORES = {"select": ("BP603", "BP604")}


def test_scores_of_good_swapped_and_empty_heads(pair):
    """Right on all, wrong on all, and the same answer to all: silence, both errors, and guessing."""
    assert run_rules(pair[0], pair[1], data=pair[2], **SCORES).findings == ()
    good = load_file(pair[1] / "model.safetensors")

    def swap(tensors):
        tensors["classifier.weight"] = good["classifier.weight"][[1, 0]].clone()
        tensors["classifier.bias"] = good["classifier.bias"][[1, 0]].clone()

    with_head(pair, swap)
    found = only(*pair[:2], data=pair[2], code="BP603")
    assert found.message.startswith("No better than guessing: 0.0% of 200 examples are right")
    loss = only(*pair[:2], data=pair[2], code="BP604")
    assert loss.evidence[0].value > loss.evidence[1].value == pytest.approx(math.log(2))

    def constant(tensors):
        tensors["classifier.weight"] = torch.zeros(2, 32)
        tensors["classifier.bias"] = torch.tensor([0.3, -0.3])

    with_head(pair, constant)
    assert [item.code for item in run_rules(pair[0], pair[1], data=pair[2], **SCORES).findings] == ["BP603"]
    with_head(pair, lambda tensors: tensors.update(good))


def test_few_examples_and_none_say_nothing(pair):
    from bitfit_probe.data import read_examples

    few = read_examples(pair[2]).take(range(20))
    why = {item.code: item.why for item in run_rules(pair[0], pair[1], data=few, **SCORES).not_checked}
    assert set(why) == {"BP603", "BP604"}
    assert why["BP603"] == "it takes 50 examples with classes"
    bare = run_rules(pair[0], pair[1], **SCORES).not_checked
    assert {item.why for item in bare} == {"no --data given"}
