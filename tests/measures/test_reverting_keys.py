"""Putting key biases back changes nothing where softmax cancels them, and something where it does not."""

from __future__ import annotations

import pytest
from support.moved import MODELS, write_pair

import bitfit_probe as bp

EXEMPT = ("bert", "roberta", "gpt2")


@pytest.mark.parametrize("kind", MODELS)
def test_reverting_the_key_biases(tmp_path, kind):
    found = bp.revert(*write_pair(tmp_path, kind), options=bp.RevertOptions(by="role"))
    keys = next(row for row in found.rows if row.group.role == "k")
    others = [row.logit_change for row in found.rows if row.group.role in ("q", "v")]
    assert min(others) > 1e-3
    if kind in EXEMPT:
        assert keys.verdict == "no effect"
        assert keys.logit_change < 1e-5
        assert found.rows[-1] is keys
    else:
        assert keys.verdict != "no effect"
        assert keys.logit_change > 1e-3


def test_a_layer_keeps_its_cancelled_biases_apart(tmp_path):
    found = bp.revert(*write_pair(tmp_path, "bert"), options=bp.RevertOptions(by="layer"))
    labels = [row.group.label for row in found.rows]
    assert sorted(labels) == ["k", "layer 0", "layer 1", "outside"]
    assert labels[-1] == "k"
