"""Real pairs, against figures that torch and float64 numpy give for the same files."""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import bitfit_probe as bp
from bitfit_probe.rendering import headline

pytestmark = pytest.mark.materials

Arrays = dict[str, np.ndarray]


def _load(path: Path) -> Arrays:
    state = torch.load(path / "pytorch_model.bin", map_location="cpu", weights_only=True)
    return {name.removeprefix("bert."): value.double().numpy() for name, value in state.items()}


def _shared(base: Arrays, tuned: Arrays) -> list[str]:
    return [name for name in base if name in tuned]


def _relative(base: Arrays, tuned: Arrays, names: list[str]) -> float:
    moved = sum(float(np.sum((tuned[name] - base[name]) ** 2)) for name in names)
    return math.sqrt(moved / sum(float(np.sum(base[name] ** 2)) for name in names))


@pytest.mark.parametrize(("model", "head"), [("bert_ft", "dropped"), ("bert_ft_10k_25s", "new")])
def test_full_fine_tunes_of_a_real_base(rxnfp: Path, model: str, head: str) -> None:
    """One of them lacks the `bert.` prefix, the other has a new head; all 199 shared tensors moved."""
    base, tuned = _load(rxnfp / "bert_pretrained"), _load(rxnfp / model)
    names = _shared(base, tuned)
    (comparison,) = bp.diff(rxnfp / "bert_pretrained", rxnfp / model).comparisons

    assert comparison.verdict == "full"
    assert comparison.summary.compared_tensors == comparison.summary.changed_tensors == len(names) == 199
    assert comparison.summary.head == head
    assert comparison.summary.relative_l2 == pytest.approx(_relative(base, tuned, names), rel=1e-6)

    rows = {row.name.removeprefix("bert."): row for row in comparison.tensors}
    assert rows.keys() == set(names)
    for name in names:
        delta = tuned[name] - base[name]
        scale = max(np.linalg.norm(base[name]), np.linalg.norm(tuned[name]))
        assert rows[name].mean_abs_delta == pytest.approx(np.abs(delta).mean(), rel=1e-6)
        assert rows[name].relative_l2 == pytest.approx(np.linalg.norm(delta) / scale, rel=1e-6)


@pytest.mark.parametrize(
    ("model", "weights", "biases"), [("bert_ft", 0.217, 0.122), ("bert_ft_10k_25s", 0.093, 0.043)]
)
def test_known_relative_changes(rxnfp: Path, model: str, weights: float, biases: float) -> None:
    """The relative changes of these pairs were measured before, by other code, to three digits."""
    (comparison,) = bp.diff(rxnfp / "bert_pretrained", rxnfp / model).comparisons
    for expected, is_bias in ((weights, False), (biases, True)):
        rows = [row for row in comparison.tensors if row.name.endswith(".bias") is is_bias]
        moved = sum((row.l2_delta or 0) ** 2 for row in rows)
        base = sum((row.base_l2 or 0) ** 2 for row in rows)
        assert math.sqrt(moved / base) == pytest.approx(expected, rel=0.01)


def test_roles_of_a_real_base(rxnfp: Path) -> None:
    """12 layers with 8 biases each; the key bias hardly moves, since softmax cancels its gradient."""
    (comparison,) = bp.diff(rxnfp / "bert_pretrained", rxnfp / "bert_ft").comparisons
    layered = [role for role in comparison.roles if role.layer is not None]
    assert len(layered) == 96
    means = {
        name: np.mean([role.mean_abs_delta for role in layered if role.role == name])
        for name in ("q", "k", "v", "m1", "LN1", "m2", "m3", "LN2")
    }
    assert means["k"] < 0.01 * min(value for name, value in means.items() if name != "k")


def test_fairseq_checkpoint_with_a_namespace(sapiens: Path) -> None:
    """PyTorch's own safe loader refuses the file; we read its tensors, and they are the right ones."""
    heavy, light = sapiens / "checkpoint_vh.pt", sapiens / "checkpoint_vl.pt"
    with pytest.raises(Exception, match="argparse"):
        torch.load(heavy, weights_only=True)
    with torch.serialization.safe_globals([argparse.Namespace]):
        expected = torch.load(heavy, map_location="cpu", weights_only=True)["model"]

    tensors = bp.open_checkpoint(heavy).tensors
    assert tensors.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(tensors[name].values(), value.double().numpy())

    (comparison,) = bp.diff(heavy, light).comparisons
    assert comparison.summary.compared_tensors >= 70
    assert (bp.diff(heavy, heavy).comparisons[0]).verdict == "identical"


def test_headline_of_a_real_pair(rxnfp: Path) -> None:
    (comparison,) = bp.diff(rxnfp / "bert_pretrained", rxnfp / "bert_ft").comparisons
    assert headline(comparison) == (
        "Full fine-tuning: 73 of 73 matrices and 98 of 98 biases moved; relative change 0.216; "
        "the base's head was dropped."
    )


def test_real_pairs_need_no_torch(rxnfp: Path, sapiens: Path) -> None:
    code = (
        "import sys, bitfit_probe as bp; bp.diff(sys.argv[1], sys.argv[2]); "
        "bp.open_checkpoint(sys.argv[3]); print('torch' in sys.modules)"
    )
    arguments = [rxnfp / "bert_pretrained", rxnfp / "bert_ft", sapiens / "checkpoint_vh.pt"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
