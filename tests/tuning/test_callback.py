"""What the callback must notice, each planted; and a healthy run, about which it must say nothing."""

from __future__ import annotations

import logging
import subprocess
import sys

import numpy as np
import pytest
import torch
from support.builders import model
from transformers import Trainer, TrainerCallback, TrainingArguments

import bitfit_probe as bp


def trainer(folder, tiny, *callbacks, **settings):
    generator = torch.Generator().manual_seed(0)
    rows = [
        {"input_ids": torch.randint(4, 64, (8,), generator=generator), "labels": torch.tensor(number % 2)}
        for number in range(32)
    ]
    chosen = {"learning_rate": 1e-2, "num_train_epochs": 3, "report_to": "none"} | settings
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=8,
        logging_steps=2,
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
        **chosen,
    )
    return Trainer(model=tiny, args=arguments, train_dataset=rows, callbacks=list(callbacks))


def bias_only(kind="bert"):
    tiny = model(kind)
    for name, parameter in tiny.named_parameters():
        parameter.requires_grad_(name.endswith(".bias") or name.startswith("classifier"))
    return tiny


class Each(TrainerCallback):
    """Does something to the model after each step."""

    def __init__(self, act):
        self.act = act

    def on_step_end(self, args, state, control, **known):
        with torch.no_grad():
            self.act(known["model"])


def kinds(callback):
    return [sign.kind for sign in callback.signs]


def test_a_healthy_run_gives_no_sign(tmp_path):
    watch = bp.BitFitProbeCallback()
    trainer(tmp_path, bias_only(), watch).train()
    assert watch.signs == ()


def test_biases_frozen_by_accident(tmp_path):
    tiny = bias_only()
    for parameter in tiny.bert.encoder.layer[1].parameters():
        parameter.requires_grad_(False)
    watch = bp.BitFitProbeCallback()
    trainer(tmp_path, tiny, watch).train()
    (sign,) = watch.signs
    assert (sign.kind, sign.step) == ("frozen-bias", 0)
    assert set(sign.subjects) == {
        name for name, _ in tiny.named_parameters() if ".layer.1." in name and name.endswith(".bias")
    }


def test_biases_that_the_optimizer_was_not_given(tmp_path):
    tiny, watch = bias_only(), bp.BitFitProbeCallback()
    run = trainer(tmp_path, tiny, watch)
    few = [parameter for name, parameter in tiny.named_parameters() if name.endswith("query.bias")]
    run.optimizer = torch.optim.AdamW(few, lr=1e-2)
    run.train()
    assert kinds(watch)[0] == "frozen-bias"
    assert len(watch.signs[0].subjects) == 18 - 2


def test_biases_whose_gradient_is_cut(tmp_path):
    tiny, watch = bias_only(), bp.BitFitProbeCallback()
    tiny.bert.encoder.layer[0].intermediate.dense.bias.register_hook(lambda gradient: 0 * gradient)
    trainer(tmp_path, tiny, watch).train()
    (sign,) = watch.signs
    assert (sign.kind, sign.subjects) == ("still-bias", ("bert.encoder.layer.0.intermediate.dense.bias",))


def test_a_matrix_in_training(tmp_path):
    tiny, watch = bias_only(), bp.BitFitProbeCallback()
    tiny.bert.encoder.layer[0].output.dense.weight.requires_grad_(True)
    trainer(tmp_path, tiny, watch).train()
    (sign,) = watch.signs
    assert (sign.kind, sign.step) == ("moving-matrix", 0)
    assert sign.subjects == ("bert.encoder.layer.0.output.dense.weight",)


def test_a_frozen_matrix_that_moves_behind_the_optimizer(tmp_path):
    tiny, watch = bias_only(), bp.BitFitProbeCallback()
    weight = tiny.bert.encoder.layer[0].output.dense.weight

    def nudge(_):
        weight[3, 5] = torch.nextafter(weight[3, 5], torch.tensor(9.0))  # one bit of one element

    trainer(tmp_path, tiny, watch, Each(nudge)).train()
    (sign,) = watch.signs
    assert (sign.kind, sign.subjects) == ("tampered", ("bert.encoder.layer.0.output.dense.weight",))


@pytest.mark.parametrize(("rate", "low"), [(2e-5, True), (1e-2, False)])
def test_a_rate_of_full_fine_tuning_is_too_low(tmp_path, rate, low):
    watch = bp.BitFitProbeCallback(stop_on=["learning-rate-too-low"])
    run = trainer(tmp_path, bias_only(), watch, learning_rate=rate)
    run.train()
    assert kinds(watch) == (["learning-rate-too-low"] if low else [])
    # Twelve steps are planned; where it was asked to stop it did so after one.
    assert run.state.global_step == (1 if low else 12)


def test_the_planned_reach_is_the_sum_of_the_rates():
    from transformers import get_linear_schedule_with_warmup

    from bitfit_probe.tuning.watch import planned_reach

    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=3e-4)
    schedule = get_linear_schedule_with_warmup(optimizer, 10, 100)
    by_hand = 3e-4 * (
        sum(step / 10 for step in range(10)) + sum((100 - step) / 90 for step in range(10, 100))
    )
    assert planned_reach(schedule, 100) == pytest.approx(by_hand, rel=1e-12)


def test_nan_is_seen_at_its_step_and_ends_the_run(tmp_path):
    watch, step = bp.BitFitProbeCallback(stop_on=["nan"]), iter(range(99))

    def poison(tiny):
        if next(step) == 4:
            tiny.bert.encoder.layer[0].attention.self.query.bias[0] = np.nan

    run = trainer(tmp_path, bias_only(), Each(poison), watch)
    run.train()
    assert [(sign.kind, sign.step) for sign in watch.signs] == [("nan", 5)]
    assert run.state.global_step == 5


def test_blow_up(tmp_path):
    watch = bp.BitFitProbeCallback()
    steps = iter(range(99))

    def wreck(tiny):
        if next(steps) == 5:
            tiny.classifier.bias[0] = 1e3

    trainer(tmp_path, bias_only(), watch, Each(wreck)).train()
    assert kinds(watch) == ["blow-up"]


def test_tensorboard_shows_how_far_each_role_and_layer_got(tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    tiny = bias_only()
    start = {name: tensor.detach().clone() for name, tensor in tiny.named_parameters()}
    run = trainer(tmp_path / "out", tiny, report_to="tensorboard")
    bp.BitFitProbeCallback().attach(run)
    run.train()
    events = EventAccumulator(str(tmp_path / "board"))
    events.Reload()
    end = dict(tiny.named_parameters())

    def mean(*names):
        parts = [(end[name] - start[name]).abs().reshape(-1) for name in names]
        return float(torch.cat(parts).mean().detach())

    shown = {tag.removeprefix("train/"): events.Scalars(tag)[-1].value for tag in events.Tags()["scalars"]}
    layer = "bert.encoder.layer.{}.intermediate.dense.bias"
    assert shown["bias_moved/m2"] == pytest.approx(mean(layer.format(0), layer.format(1)), rel=1e-4)
    of_layer = [name for name in start if ".layer.1." in name and name.endswith(".bias")]
    assert shown["bias_moved/layer_1"] == pytest.approx(mean(*of_layer), rel=1e-4)
    assert run.state.log_history[-2]["bias_moved/q"] > 0


def test_signs_are_logged_as_warnings_unless_it_is_quiet(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "bitfit_probe"):
        trainer(tmp_path, bias_only(), bp.BitFitProbeCallback(), learning_rate=1e-6).train()
        trainer(tmp_path, bias_only(), bp.BitFitProbeCallback(quiet=True), learning_rate=1e-6).train()
    assert [record.message.split(":")[1].strip() for record in caplog.records] == ["learning-rate-too-low"]


def test_roles_that_are_meant_to_rest_are_watched_too(tmp_path):
    watch = bp.BitFitProbeCallback(roles=["q", "m2"])
    tiny = bias_only()
    trainer(tmp_path, tiny, watch).train()
    (sign,) = watch.signs
    assert sign.kind == "moving-matrix"
    assert all("query" not in name and "intermediate" not in name for name in sign.subjects)


def test_the_package_is_imported_without_transformers():
    code = "import bitfit_probe, bitfit_probe.tuning.callback, sys; print('transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
