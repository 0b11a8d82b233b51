"""`check` has nothing to warn of in two real fine-tunes, and finds what is planted in one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.checking import codes

pytestmark = pytest.mark.materials


@pytest.mark.parametrize("model", ["bert_ft", "bert_ft_10k_25s"])
def test_real_full_fine_tunes_are_sound(rxnfp: Path, model: str) -> None:
    assert codes(rxnfp / "bert_pretrained", rxnfp / model) == []


def test_another_model_s_fine_tune_is_not_this_base_s(rxnfp: Path, tmp_path: Path) -> None:
    """Fine-tuned layers in another order: each matrix is what another layer was."""
    import torch

    shutil.copytree(rxnfp / "bert_ft", tmp_path / "tuned")
    state = torch.load(tmp_path / "tuned" / "pytorch_model.bin", weights_only=True)
    turned = {name.replace("layer.0.", "layer.99."): tensor for name, tensor in state.items()}
    for layer in range(1, 12):
        turned |= {
            name.replace(f"layer.{layer}.", f"layer.{layer - 1}."): tensor
            for name, tensor in state.items()
            if f"layer.{layer}." in name
        }
    turned = {name.replace("layer.99.", "layer.11."): tensor for name, tensor in turned.items()}
    torch.save(turned, tmp_path / "tuned" / "pytorch_model.bin")
    assert codes(rxnfp / "bert_pretrained", tmp_path / "tuned")[0] == "BP309"
