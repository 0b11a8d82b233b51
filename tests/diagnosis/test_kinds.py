"""Other kinds of tasks than classes: quantities, pairs, and language models by their loss."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.builders import config_of, copied, model, write
from support.planted import texts
from support.texts import write_rows, write_tokenizer

import bitfit_probe as bp

QUICK = bp.DiagnoseOptions(check=False, examples=80)


def folder(path, kind, state, **config):
    write(path, state, config_of(kind, **config))
    write_tokenizer(path)
    return path


def one_output(state):
    """The tiny BERT's weights with a single output."""
    found = copied(dict(state))
    noise = torch.Generator().manual_seed(3)
    found["classifier.weight"] = torch.randn(1, 32, generator=noise)
    found["classifier.bias"] = torch.zeros(1)
    return found


def quantities(path, state, sentences):
    """What the model answers to each sentence, as its label."""
    from bitfit_probe.checkpoint import open_checkpoint
    from bitfit_probe.data import read_examples
    from bitfit_probe.inference import LiveModel

    plain = write_rows(path.with_suffix(".plain.csv"), [(text, "0") for text in sentences])
    live = LiveModel.of(open_checkpoint(state))
    answers = live.logits(read_examples(plain))[:, 0]
    return write_rows(path, [(text, f"{value:.6f}") for text, value in zip(sentences, answers, strict=True)])


def test_a_scaled_regression_head_is_refitted(tmp_path):
    state = one_output(model("bert").state_dict())
    base = folder(tmp_path / "base", "bert", state, num_labels=1)
    data = quantities(tmp_path / "data.csv", base, texts(80))
    broken = copied(state)
    broken["classifier.weight"] *= -1
    tuned = folder(tmp_path / "tuned", "bert", broken, num_labels=1)
    found = bp.diagnose(base, tuned, data=data, options=QUICK).diagnoses[0]
    assert found.quality.measure == "r2"
    assert found.quality.beats_chance is False
    assert found.advice == "refit-head"
    sound = bp.diagnose(base, base, data=data, options=QUICK).diagnoses[0]
    assert sound.quality.tuned.value == pytest.approx(1, abs=1e-4)
    assert sound.advice is None


@pytest.mark.parametrize("kind", ["gpt2", "bert-mlm"])
def test_a_ruined_language_model_is_put_back_by_its_loss(tmp_path, kind):
    state = copied(dict(model(kind).state_dict()))
    names = {"architectures": [type(model(kind)).__name__]}
    base = folder(tmp_path / "base", kind, state, **names)
    noise = torch.Generator().manual_seed(4)
    ruined = copied(state)
    name = next(name for name in ruined if name.endswith("bias") and ".1." in name)
    ruined[name] = ruined[name] + 20 * torch.randn(ruined[name].shape, generator=noise)
    tuned = folder(tmp_path / "tuned", kind, ruined, **names)
    data = write_rows(tmp_path / "data.csv", [(text,) for text in texts(80)], ("text",))
    found = bp.diagnose(base, tuned, data=data, options=QUICK).diagnoses[0]
    rows = {row.name: row for row in found.interventions}
    assert found.quality.measure == "loss"
    assert rows["alpha-0"].gain == pytest.approx(rows["alpha-0"].loss_gain)
    assert not any(row.cross_fitted for row in found.interventions)
    before = bp.diagnose(base, base, data=data, options=QUICK).diagnoses[0].quality.tuned.value
    assert rows["alpha-0"].gain == pytest.approx(found.quality.tuned.value - before, abs=0.15)


def test_pairs_are_read_together(tmp_path):
    """Labels that only the second text tells: shown with both."""
    state = copied(dict(model("bert").state_dict()))
    base = folder(tmp_path / "base", "bert", state, num_labels=2)
    rows = [
        (one, other, str(at % 2)) for at, (one, other) in enumerate(zip(texts(40), texts(40, 9), strict=True))
    ]
    data = write_rows(tmp_path / "data.csv", rows, ("text", "text_pair", "label"))
    shutil.copytree(base, tmp_path / "tuned")
    found = bp.diagnose(base, tmp_path / "tuned", data=data, options=replace(QUICK, examples=40)).diagnoses[0]
    assert " | " in found.worst[0].text
    assert np.isfinite(found.quality.loss.value)
