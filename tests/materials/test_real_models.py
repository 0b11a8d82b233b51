"""Real models: what our readers load is what torch reads, whatever config.json lacks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bitfit_probe.errors import ModelError
from bitfit_probe.inference import Purpose, load_model, load_tokenizer

pytestmark = pytest.mark.materials


@pytest.mark.parametrize(
    ("name", "purpose", "missing"),
    [
        ("bert_pretrained", "masked-lm", ()),  # config without a model_type
        ("bert_ft", "features", ()),  # names without `bert.`
        ("bert_ft", "classify", ("classifier.bias", "classifier.weight")),
        ("bert_ft_10k_25s", "classify", ()),  # num_labels 50 beside names for two
    ],
)
def test_reaction_models(rxnfp: Path, name: str, purpose: Purpose, missing: tuple[str, ...]) -> None:
    loaded = load_model(rxnfp / name, purpose=purpose)
    assert loaded.missing == missing
    stored = torch.load(rxnfp / name / "pytorch_model.bin", map_location="cpu", weights_only=True)
    ours = {key.removeprefix("bert."): value for key, value in loaded.model.state_dict().items()}
    read = {key.removeprefix("bert."): value for key, value in stored.items()}
    common = ours.keys() & read.keys()
    assert len(common) >= len(ours) - len(missing) - 2  # beside buffers and the tied head
    assert all(torch.equal(ours[key], read[key]) for key in common)


def test_their_vocabulary_is_none_of_word_pieces(rxnfp: Path) -> None:
    with pytest.raises(ModelError, match="no word pieces"):
        load_tokenizer(rxnfp / "bert_ft_10k_25s")
