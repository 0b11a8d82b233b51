"""Each planted disappointment leads to its step, and each step is what the changed weights give by hand."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.planted import IMPORTANT, loaded, logits, planted_pair

import bitfit_probe as bp
from bitfit_probe.data import read_examples
from bitfit_probe.diagnosis import Subject
from bitfit_probe.diagnosis.interventions import all_steps
from bitfit_probe.errors import SettingsError
from bitfit_probe.pair import Pair
from bitfit_probe.rendering.diagnosis_json import diagnosed_document

QUICK = bp.DiagnoseOptions(check=False, examples=200)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return planted_pair(tmp_path_factory.mktemp("planted"))


@pytest.fixture
def broken(pair, tmp_path):
    """A copy of the tuned folder, its tensors changed by a function."""

    def make(change=lambda tensors: None, **config):
        folder = tmp_path / "broken"
        shutil.copytree(pair[1], folder)
        tensors = load_file(folder / "model.safetensors")
        tensors = change(tensors) or tensors
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        known = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(known | config))
        return folder

    return make


def only(pair, tuned, **options):
    found = bp.diagnose(
        pair[0], tuned, data=pair[2], options=QUICK.__class__(check=False, examples=200, **options)
    )
    return found.diagnoses[0]


def accuracy(folder, data, words=200) -> float:
    """By the tiny model itself, one text at a time."""
    examples = read_examples(data).sample(words)
    answers = logits(loaded(load_file(folder / "model.safetensors")), list(examples.texts)).argmax(1)
    return float((answers == torch.tensor(examples.class_numbers({0: "zero", 1: "one"}))).double().mean())


def swap_rows(tensors):
    for name in ("classifier.weight", "classifier.bias"):
        tensors[name] = tensors[name][[1, 0]].clone()


def test_a_sound_model_is_told_that_nothing_cheap_helps(pair):
    found = only(pair, pair[1])
    assert found.headline.startswith("No cheap step helps: see the trial.")
    assert (found.advice, found.gain) == (None, None)
    assert found.quality.tuned.value == 1.0
    assert found.quality.beats_chance is True


def test_permuted_head_rows_are_renumbered(pair, broken, tmp_path):
    folder = broken(swap_rows)
    found = only(pair, folder)
    assert found.advice == "relabel"
    assert found.headline.startswith("Renumber the labels: +100 points (95 % ")
    assert found.quality.tuned.value == accuracy(folder, pair[2]) == 0.0
    assert found.quality.beats_chance is False
    only(pair, folder, apply="relabel", out=tmp_path / "mended")
    names = json.loads((tmp_path / "mended" / "config.json").read_text())["id2label"]
    assert names == {"0": "one", "1": "zero"}
    assert only(pair, tmp_path / "mended").quality.tuned.value == 1.0


def test_lost_head_is_refitted_and_written(pair, broken, tmp_path):
    def redraw(tensors):
        tensors["classifier.weight"] = 0.02 * torch.randn(2, 32, generator=torch.Generator().manual_seed(1))
        tensors["classifier.bias"] = torch.zeros(2)

    folder = broken(redraw)
    found = only(pair, folder, apply="refit-head", out=tmp_path / "mended")
    row = next(row for row in found.interventions if row.name == "refit-head")
    assert row.helps
    assert row.cross_fitted
    assert row.stored_parameters == 66
    before, after = (
        load_file(folder / "model.safetensors"),
        load_file(tmp_path / "mended" / "model.safetensors"),
    )
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert sorted(moved) == ["classifier.bias", "classifier.weight"]
    assert accuracy(tmp_path / "mended", pair[2]) > accuracy(folder, pair[2]) + 0.25


def test_head_under_another_name_is_named(pair, broken, tmp_path):
    folder = broken(lambda tensors: {k.replace("classifier.", "cls_head."): v for k, v in tensors.items()})
    found = only(pair, folder, apply="rename-head", out=tmp_path / "mended")
    assert found.advice == "rename-head"
    assert "lack classifier.bias, classifier.weight" in " ".join(found.notes)
    assert accuracy(tmp_path / "mended", pair[2]) == 1.0


def test_settings_of_the_base_are_tried(pair, broken):
    found = only(pair, broken(num_attention_heads=2))
    row = next(row for row in found.interventions if row.name == "base-settings")
    assert row.how == "in config.json: num_attention_heads 2 → 4"
    assert row.gain == pytest.approx(1 - found.quality.tuned.value)


def test_a_ruined_bias_is_put_back(pair, tmp_path):
    """Base and tuned changed places: the bias that decides is what training ruined."""
    other = tmp_path / "ruined"
    shutil.copytree(pair[1], other)
    shutil.copy(pair[0] / "model.safetensors", other / "model.safetensors")
    found = bp.diagnose(pair[1], other, data=pair[2], options=QUICK).diagnoses[0]
    gains = {row.name: row.gain for row in found.interventions}
    missing = 1 - accuracy(other, pair[2])
    for name in ("alpha-0", "put-back-biases-layer-1"):
        assert gains[name] == pytest.approx(missing)
    assert gains["put-back-biases-layer-0"] == 0
    assert found.advice in ("alpha-0", "alpha-0.25")


def test_alpha_is_the_weights_by_hand(pair, tmp_path):
    data = read_examples(pair[2]).sample(60)
    subject = Subject(Pair.open(pair[0], pair[1], data=data), data)
    steps = {step.name: step for step in all_steps(subject)}
    base, tuned = (load_file(folder / "model.safetensors") for folder in pair[:2])
    targets = torch.tensor(data.class_numbers({0: "zero", 1: "one"}))
    for alpha in (0.5, 1.5):
        mixed = {name: base[name] + alpha * (tuned[name] - base[name]) for name in tuned}
        mixed |= {name: tuned[name] for name in tuned if name.startswith("classifier")}
        answers = logits(loaded(mixed), list(data.texts))
        losses = torch.nn.functional.cross_entropy(answers, targets, reduction="none")
        seen = steps[f"alpha-{alpha}"].look(None)
        assert seen.losses == pytest.approx(losses.double().numpy(), abs=1e-4)
        written = steps[f"alpha-{alpha}"].change().tensors
        assert written[IMPORTANT] == pytest.approx(mixed[IMPORTANT].numpy(), abs=1e-5)
    whole = load_file(pair[1] / "model.safetensors")
    for name, parameter in subject.live.model.named_parameters():
        assert torch.equal(parameter, whole[name])  # nothing of it stays in the model


def test_another_checkpoint_of_the_run_is_taken(pair, broken):
    folder = broken(lambda tensors: {**tensors, IMPORTANT: -tensors[IMPORTANT]})
    shutil.copytree(pair[1], folder / "checkpoint-7")
    found = only(pair, folder)
    assert found.advice == "checkpoint-7"
    average = next(row for row in found.interventions if row.name == "average")
    assert average.gain <= found.gain.value


def test_half_precision_is_judged_as_it_is_served(pair, broken):
    """Both classes a thousand up is the same answer in float32, and no answer in bfloat16."""

    def lifted(tensors):
        return {
            name: (t + 1000 if name == "classifier.bias" else t).bfloat16() for name, t in tensors.items()
        }

    found = only(pair, broken(lifted))
    row = next(row for row in found.interventions if row.name == "float32")
    assert found.quality.tuned.value < 0.8
    assert row.gain > 0.15


def test_two_models_are_compared_by_mcnemar(pair, broken):
    found = bp.diagnose(pair[0], broken(swap_rows), pair[1], data=pair[2], options=QUICK)
    (rivals,) = found.rivals
    assert (rivals.only_first, rivals.only_second) == (0, 200)
    assert rivals.second == str(pair[1])
    assert rivals.chance < 1e-50
    assert rivals.interval[0] > 0.9
    document = diagnosed_document(found)
    assert document["advice"] == "relabel"
    assert document["others"][0]["advice"] is None
    assert json.dumps(document)


def test_texts_stay_out_where_asked(pair, broken):
    folder = broken(swap_rows)
    shown = only(pair, folder)
    hidden = only(pair, folder, no_examples=True)
    assert shown.worst[0].text
    assert {item.text for item in (*hidden.worst, *hidden.lost, *hidden.won)} == {None}


def test_steps_that_are_none_are_refused(pair, tmp_path):
    with pytest.raises(SettingsError, match="'magic' is no step that can be done here"):
        only(pair, pair[1], apply="magic", out=tmp_path / "mended")
    assert not (tmp_path / "mended").exists()


def test_train_data_are_fitted_on_and_not_judged(pair, broken):
    """Examples to train on with swapped labels: what is learnt from them is wrong on the judged ones."""
    examples = read_examples(pair[2])
    swapped = examples.take(range(200, 400))
    swapped = replace(swapped, labels=tuple(1 - int(label) for label in swapped.labels or ()))
    judged = examples.take(range(200))
    subject = Subject(Pair.open(pair[0], broken(), data=judged), judged, train=swapped)
    steps = {step.name: step for step in all_steps(subject)}
    assert steps["relabel"].look(None).scores.mean() == 0.0
    assert steps["refit-head"].look(None).scores.mean() < 0.2
