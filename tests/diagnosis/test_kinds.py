"""Other kinds of tasks than classes: quantities, pairs, and language models by their loss."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from support.builders import config_of, copied, model, write
from support.planted import texts
from support.texts import WORDS, write_rows, write_tokenizer

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


def test_vectors_are_judged_by_spearman_and_the_ruin_of_a_bias_is_found(tmp_path):
    """Labels are the base's own cosines: it scores 1, and what training ruined is put back."""
    state = copied(dict(model("bert-bare").state_dict()))
    names = {"architectures": ["BertModel"]}
    base = folder(tmp_path / "base", "bert-bare", state, **names)
    ones, others = texts(90), texts(90, 9)
    vectors = [mean_vectors(base, part) for part in (ones, others)]
    cosines = torch.nn.functional.cosine_similarity(*vectors).tolist()
    rows = [(one, other, f"{c:.6f}") for one, other, c in zip(ones, others, cosines, strict=True)]
    data = write_rows(tmp_path / "data.csv", rows, ("text", "text_pair", "score"))
    ruined = copied(state)
    name = next(name for name in ruined if name.endswith("layer.1.output.dense.bias"))
    ruined[name] = ruined[name] + 3 * torch.randn(32, generator=torch.Generator().manual_seed(4))
    tuned = folder(tmp_path / "tuned", "bert-bare", ruined, **names)
    found = bp.diagnose(base, tuned, data=data, options=replace(QUICK, examples=90)).diagnoses[0]
    assert found.quality.measure == "spearman"
    theirs = torch.nn.functional.cosine_similarity(*(mean_vectors(tuned, part) for part in (ones, others)))
    assert found.quality.tuned.value == pytest.approx(spearmanr(theirs, cosines).statistic, abs=1e-3)
    assert found.quality.base_probe.value == pytest.approx(1, abs=1e-3)
    gains = {row.name: row.gain for row in found.interventions}
    assert gains["alpha-0"] == pytest.approx(1 - found.quality.tuned.value, abs=1e-3)
    assert found.advice is not None


def mean_vectors(path, sentences):
    """Means over all tokens of the last hidden states, a text at a time."""
    from transformers import BertModel

    loaded = BertModel.from_pretrained(path).eval()
    number = {word: place for place, word in enumerate(WORDS, 5)}
    ids = ([2, *(number[word] for word in sentence.split()), 3] for sentence in sentences)
    with torch.no_grad():
        return torch.cat([loaded(torch.tensor([row])).last_hidden_state.mean(1) for row in ids])
