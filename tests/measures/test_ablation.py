"""Reverting finds what matters by plan, calls free what doesn't, and leaves the model as it was."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.builders import config_of, copied, model, write
from support.planted import IMPORTANT, IRRELEVANT, loaded, logits, planted_pair, texts
from support.texts import write_rows, write_tokenizer
from transformers import BertConfig, BertForSequenceClassification

import bitfit_probe as bp
from bitfit_probe import sample
from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.comparison import compare
from bitfit_probe.data import Columns, TaskData, read_examples
from bitfit_probe.errors import DataError, ModelError
from bitfit_probe.inference import LiveModel
from bitfit_probe.inference.weights import overlaid, windows
from bitfit_probe.measures.ablation import ablate


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return planted_pair(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="module")
def full(pair):
    return bp.revert(*pair, options=bp.RevertOptions(by="role-layer", early_stop=False))


def by_label(found):
    return {row.group.label: row for row in found.rows}


def torch_state(folder):
    return load_file(folder / "model.safetensors")


def test_the_planted_group_matters_most(full):
    first = full.rows[0]
    assert (first.group.label, first.verdict) == ("LN2 1", "matters")
    assert first.loss_interval[0] > 0.2
    assert first.accuracy_change < -0.3
    assert first.accuracy_interval[1] < 0
    assert all(row.loss_change < 0.01 for row in full.rows[1:])


def test_the_planted_irrelevant_group_is_free(full):
    row = by_label(full)["m1 0"]
    assert row.verdict == "free"
    assert 0 < row.logit_change < 0.05
    assert row.loss_interval[1] < full.tolerance


def test_groups_that_did_not_move_are_free_without_a_pass(full):
    resting = [row for label, row in by_label(full).items() if label not in ("LN2 1", "m1 0")]
    assert len(resting) == 16
    assert {(row.loss_change, row.logit_change, row.free) for row in resting} == {(0.0, 0.0, True)}


def test_figures_are_those_of_the_two_models_run_by_hand(pair, full):
    """One text at a time, unpadded, in float32: sums differ in the last digits only."""
    base, tuned, data = pair
    examples = read_examples(data)
    classes = torch.tensor(examples.class_numbers({0: "zero", 1: "one"}))
    before = logits(loaded(torch_state(tuned)), list(examples.texts))
    mixed = torch_state(tuned) | {IMPORTANT: torch_state(base)[IMPORTANT]}
    after = logits(loaded(mixed), list(examples.texts))
    loss = torch.nn.functional.cross_entropy
    change = (loss(after, classes, reduction="none") - loss(before, classes, reduction="none")).double()
    row = by_label(full)["LN2 1"]
    assert full.loss == pytest.approx(loss(before, classes).item(), rel=1e-4)
    right = [(outputs.argmax(1) == classes).double().mean().item() for outputs in (before, after)]
    assert full.accuracy == pytest.approx(right[0])
    assert row.loss_change == pytest.approx(change.mean().item(), rel=1e-4)
    assert row.accuracy_change == pytest.approx(right[1] - right[0])
    assert row.logit_change == pytest.approx((after - before).abs().max().item(), rel=1e-4)
    assert row.examples == full.examples == 400


def test_stopping_early_agrees_with_the_full_pass(pair, full):
    early = bp.revert(*pair, options=bp.RevertOptions(by="role-layer"))
    assert {label: row.verdict for label, row in by_label(early).items()} == {
        label: row.verdict for label, row in by_label(full).items()
    }
    for label in ("LN2 1", "m1 0"):
        short, whole = by_label(early)[label], by_label(full)[label]
        assert short.examples == 100
        assert short.loss_interval[0] <= whole.loss_change <= short.loss_interval[1]


def test_what_is_free_goes_back_together(full):
    assert full.together is not None
    assert IRRELEVANT in full.together.group.names
    assert IMPORTANT not in full.together.group.names
    assert full.together.free


@pytest.mark.parametrize(("by", "first"), [("role", "LN2"), ("layer", "layer 1"), ("tensor", "LN2 1")])
def test_every_grouping_finds_it(pair, by, first):
    found = bp.revert(*pair, options=bp.RevertOptions(by=by, examples=120))
    assert (found.by, found.examples) == (by, 120)
    assert found.rows[0].group.label == first
    assert found.rows[0].verdict == "matters"


def test_the_model_is_as_it_was_bit_for_bit(pair):
    base, tuned, data = open_checkpoint(pair[0]), open_checkpoint(pair[1]), read_examples(pair[2])
    comparison, _ = compare(base, tuned)
    live = LiveModel.of(tuned)
    before = copied(live.model.state_dict())
    ablate(live, base, comparison, data, bp.RevertOptions())
    for name, values in live.model.state_dict().items():
        assert torch.equal(
            values.reshape(-1).view(torch.uint8), before[name].reshape(-1).view(torch.uint8)
        ), name


def test_an_error_on_the_way_leaves_it_as_it_was_too(pair):
    live = LiveModel.of(open_checkpoint(pair[1]))
    bias = windows(open_checkpoint(pair[0]), live.model, ("bias",))[IMPORTANT, None]
    before = bias.view.clone()
    inside = []

    def interrupted():
        with overlaid([bias]):
            inside.append(live.model.get_parameter(bias.parameter).detach().clone())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert torch.equal(inside[0], bias.values)
    assert torch.equal(live.model.get_parameter(bias.parameter), before)


def test_progress_counts_batches_up_to_the_end(pair):
    seen = []
    bp.revert(*pair, progress=lambda done, total: seen.append((done, total)))
    done = [number for number, _ in seen]
    assert done == sorted(done)
    assert seen[-1][0] == seen[-1][1]
    assert len({total for _, total in seen}) == 1


def test_several_checkpoints_are_measured_one_after_the_other(pair):

    seen, (base, tuned, data) = [], pair
    options = bp.ReportOptions(
        by=(), spectra=False, recommend=False, revert=bp.RevertOptions(examples=80, model_dir=tuned)
    )
    found = bp.report(base, tuned, base, data=data, options=options, progress=lambda *each: seen.append(each))
    first, second = (measured.reverting for measured in found.measured)
    assert first.rows[0].verdict == "matters"
    assert all(row.verdict in ("free", "no effect") for row in second.rows)  # the base beside itself
    shares = [done / total for stage, done, total in seen if stage == "reverting"]
    assert shares[-1] == 1
    assert all(0 <= share <= 1 for share in shares)


def test_wrapped_names_are_the_same_model(pair, tmp_path):
    base, tuned, data = pair
    wrapped = {f"module.{name}": values for name, values in torch_state(tuned).items()}
    write(tmp_path / "ddp.pt", wrapped)
    found = bp.revert(
        base, tmp_path / "ddp.pt", data, options=bp.RevertOptions(model_dir=tuned, examples=100)
    )
    assert found.rows[0].group.label == "LN2"
    assert found.accuracy == 1.0


def test_a_head_of_more_classes_than_the_config_says(pair, tmp_path):
    """A config that names no classes: the head's rows count, and the order of the labels is told."""
    tensors = torch_state(pair[1])
    for name in ("classifier.weight", "classifier.bias"):
        tensors[name] = torch.cat([tensors[name], tensors[name][:1] - 1])
    write_tokenizer(write(tmp_path / "t", tensors, config_of("bert")))
    rows = [("word05", "a"), ("word06", "b"), ("word07", "c")]
    found = bp.revert(pair[0], tmp_path / "t", write_rows(tmp_path / "d.csv", rows))
    assert found.notes == ("config.json names no classes: the labels were taken in alphabetical order",)


def test_labels_are_matched_by_name_not_by_order(pair, tmp_path):
    """`one` comes before `zero` in the alphabet, but is the model's class 1; shouted, it still is."""
    rows = read_examples(pair[2])
    shouted = [
        (text, rows.label_names[label].upper()) for text, label in zip(rows.texts, rows.labels, strict=True)
    ]
    found = bp.revert(
        *pair[:2], write_rows(tmp_path / "d.csv", shouted), options=bp.RevertOptions(examples=100)
    )
    assert found.accuracy == 1.0


def test_foreign_labels_are_an_error_that_names_both_sets(pair, tmp_path):
    path = write_rows(tmp_path / "d.csv", [("word05", "good"), ("word06", "bad")])
    with pytest.raises(DataError, match=r"bad, good.*zero, one") as caught:
        bp.revert(*pair[:2], path)
    assert caught.value.code == "BE401"


def test_a_checkpoint_without_its_head_is_an_error(pair, tmp_path):
    bare = {n: v for n, v in torch_state(pair[1]).items() if not n.startswith("classifier")}
    write(tmp_path / "bare", bare, config_of("bert"))
    write_tokenizer(tmp_path / "bare")
    with pytest.raises(ModelError, match=r"lacks classifier\.bias, classifier\.weight"):
        bp.revert(pair[0], tmp_path / "bare", write_rows(tmp_path / "d.csv", [("word05", 0), ("word06", 1)]))


def test_an_adapter_is_no_model(pair, tmp_path):
    write(tmp_path / "adapter", {"base_model.model.classifier.lora_A.weight": torch.ones(2, 32)})
    (tmp_path / "adapter" / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    adapter = open_checkpoint(tmp_path / "adapter")
    with pytest.raises(ModelError, match="is an adapter"):
        LiveModel.of(adapter)


def test_a_loss_that_is_no_number_is_an_error(pair, tmp_path):
    broken = torch_state(pair[1])
    broken["classifier.bias"][:] = float("nan")
    write(tmp_path / "nan", broken, json.loads((pair[1] / "config.json").read_text()))
    with pytest.raises(ModelError, match="not finite"):
        bp.revert(pair[0], tmp_path / "nan", pair[2], options=bp.RevertOptions(model_dir=pair[1]))


def test_a_tokenizer_of_more_words_than_the_model_is_an_error(pair):
    live = dataclasses.replace(LiveModel.of(open_checkpoint(pair[1])), folders=(sample.base_path(),))
    data = TaskData(("who are you",), None, (0,), ("0",), "classification", Columns("text"))
    with pytest.raises(ModelError, match="4,096 tokens, the model 64"):
        live.batches(data)


def test_unlabelled_texts_need_a_language_model(pair, tmp_path):
    path = write_rows(tmp_path / "d.csv", [("word05",)], header=("text",))
    with pytest.raises(DataError, match="no label column"):
        bp.revert(*pair[:2], path)


def test_a_regression_counts_in_variances_of_the_labels(tmp_path):
    tuned = copied(dict(model("bert").state_dict()))
    tuned["classifier.weight"], tuned["classifier.bias"] = 5 * torch.ones(1, 32), torch.zeros(1)
    base = copied(tuned)
    base["bert.pooler.dense.bias"] -= 0.3
    settings = config_of("bert", id2label={"0": "LABEL_0"}, label2id={"LABEL_0": 0})
    write(tmp_path / "base", base, settings)
    write_tokenizer(write(tmp_path / "tuned", tuned, settings))
    sentences, random = texts(150), np.random.default_rng(0)
    filled = BertForSequenceClassification(BertConfig(**settings)).eval()
    filled.load_state_dict(tuned)
    right = logits(filled, sentences)[:, 0].numpy() + random.normal(0, 0.5, 150)
    data = write_rows(tmp_path / "d.csv", zip(sentences, right, strict=True))
    found = bp.revert(tmp_path / "base", tmp_path / "tuned", data, options=bp.RevertOptions(early_stop=False))
    errors = (logits(filled, sentences)[:, 0].numpy() - right) ** 2
    filled.load_state_dict(base)
    worse = (logits(filled, sentences)[:, 0].numpy() - right) ** 2
    assert (found.unit, found.accuracy) == ("label variances", None)
    assert found.loss == pytest.approx(errors.mean() / right.var(), rel=1e-3)
    assert found.rows[0].group.label == "pooler"
    assert found.rows[0].loss_change == pytest.approx((worse - errors).mean() / right.var(), rel=1e-3)
    assert found.rows[0].accuracy_change is None
