"""What a run trains, writes and refuses; what moved is judged by `diff` and by the arrays themselves."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.builders import biases, state
from tuning.tiny import rows, write_csv

import bitfit_probe as bp
from bitfit_probe.errors import (
    DataError,
    ModelError,
    NoBiasesError,
    OutputError,
    OverwriteError,
    SettingsError,
)
from bitfit_probe.tuning.run_dir import Workplace

HEAD = {"classifier.weight", "classifier.bias"}
QUICK = {"epochs": 1, "batch_size": 16, "eval_split": 0.0}


def tuned(base, data, out, **hyper):
    return bp.tune(base, data, out=out, options=bp.TuneOptions(**(QUICK | hyper)))


def comparison(base, out):
    return bp.diff(base, out).comparisons[0]


def moved_names(base, out):
    """Names of the body's tensors whose bytes differ, read by safetensors itself."""
    before, after = load_file(base / "model.safetensors"), load_file(out / "model.safetensors")
    return {name for name in before if name in after and not torch.equal(before[name], after[name])} - HEAD


def test_bitfit_moves_the_biases_and_the_head_and_nothing_else(bases, task, tmp_path):
    base = bases("bert")
    done = tuned(base, task, tmp_path / "out", epochs=3)
    found = comparison(base, tmp_path / "out")
    assert (found.verdict, found.summary.offenders) == ("bitfit", ())
    assert found.summary.head == "new"  # three classes instead of the base's two
    assert moved_names(base, tmp_path / "out") <= set(biases(state("bert")))
    # Softmax drops what all keys share: those two may stay.
    assert len(moved_names(base, tmp_path / "out")) >= len(biases(state("bert"))) - 2
    # BERT: embLN, and q k v m1 LN1 m3 LN2 of 32 and m2 of 48 in two layers, pooler; then the head.
    assert done.card["trained"]["by_role"]["m2"] == 2 * 48
    assert done.card["trained"]["parameters"] == 32 + 2 * (7 * 32 + 48) + 32 + (32 * 3 + 3)


def test_it_learns(bases, task, tmp_path):
    hyper = {"epochs": 12, "batch_size": 8, "learning_rate": 1e-2, "patience": 0, "method": "lora"}
    done = bp.tune(bases("bert"), task, out=tmp_path / "out", options=bp.TuneOptions(**hyper))
    assert done.result["held_out_accuracy"] == 1.0
    losses = [row["loss"] for row in done.card["curve"] if "loss" in row]
    assert losses[-1] < losses[0] / 4


def test_roles_restrict_it_to_those_roles(bases, task, tmp_path):
    tuned(bases("bert"), task, tmp_path / "out", roles=("q", "m2"))
    expected = {
        f"bert.encoder.layer.{layer}.{module}.bias"
        for layer in range(2)
        for module in ("attention.self.query", "intermediate.dense")
    }
    assert moved_names(bases("bert"), tmp_path / "out") == expected
    found = comparison(bases("bert"), tmp_path / "out")
    assert {row.info.role for row in found.tensors if row.moved and row.info.kind == "bias"} == {"q", "m2"}


def test_a_role_inside_a_fused_bias_moves_alone(bases, task, tmp_path):
    base = bases("gpt2")
    done = tuned(base, task, tmp_path / "out", roles=("v",))
    before, after = load_file(base / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    name = "transformer.h.0.attn.c_attn.bias"
    same = (before[name] == after[name]).reshape(3, 32).all(1)
    assert same.tolist() == [True, True, False]
    assert done.card["trained"]["by_role"]["v"] == 2 * 32
    assert {row.part for row in comparison(base, tmp_path / "out").tensors if row.moved} == {"v"}


def test_norms_train_their_scales_too(bases, task, tmp_path):
    tuned(bases("bert"), task, tmp_path / "out", norms=True)
    found = comparison(bases("bert"), tmp_path / "out")
    assert (found.verdict, found.summary.offenders) == ("bitfit+norm", ())


@pytest.mark.parametrize(("method", "verdict"), [("head", "head-only"), ("full", "full")])
def test_other_methods_do_what_their_name_says(bases, task, tmp_path, method, verdict):
    tuned(bases("bert"), task, tmp_path / "out", method=method)
    assert comparison(bases("bert"), tmp_path / "out").verdict == verdict


def test_lora_writes_an_adapter_that_means_what_the_merged_model_means(bases, task, tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    base = bases("bert")
    hyper = {"method": "lora", "lora_r": 2, "learning_rate": 1e-2}
    tuned(base, task, tmp_path / "adapter", **hyper)
    tuned(base, task, tmp_path / "merged", merge=True, **hyper)
    assert comparison(base, tmp_path / "merged").verdict == "merged-lora"
    start = AutoModelForSequenceClassification.from_pretrained(
        base, num_labels=3, ignore_mismatched_sizes=True
    )
    one = PeftModel.from_pretrained(start, tmp_path / "adapter").eval()
    other = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged").eval()
    ids = torch.arange(4, 24).reshape(2, 10)
    with torch.no_grad():
        assert torch.allclose(one(ids).logits, other(ids).logits, atol=1e-5)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["r"] == 2
    assert not (tmp_path / "adapter" / "README.md").exists()


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_bitfit_refuses_a_base_without_biases(bases, task, tmp_path, kind):
    with pytest.raises(NoBiasesError, match=r"has none.*--method lora") as caught:
        tuned(bases(kind), task, tmp_path / "out")
    assert caught.value.code == "BE502"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["roberta", "distilbert", "gpt2", "opt", "llama"])
def test_encoders_and_decoders_train(bases, task, tmp_path, kind):
    method = "lora" if kind == "llama" else "bitfit"
    hyper = {"method": method, "merge": method == "lora", "learning_rate": 2e-2}
    done = tuned(bases(kind), task, tmp_path / "out", **hyper)
    found = comparison(bases(kind), tmp_path / "out")
    assert found.verdict == ("merged-lora" if kind == "llama" else "bitfit")
    assert found.summary.offenders == ()
    assert done.card["signs"] == []


def test_pairs_regression_and_language_models(bases, tmp_path):
    table = rows(32, pairs=True)
    pairs = write_csv(tmp_path / "pairs.csv", table)
    numbers = write_csv(
        tmp_path / "numbers.csv", [{"text": row["text"], "score": str(i / 7)} for i, row in enumerate(table)]
    )
    plain = write_csv(tmp_path / "plain.csv", [{"text": row["text"]} for row in table])
    half = {"eval_split": 0.5}
    assert tuned(bases("bert"), pairs, tmp_path / "a", **half).card["objective"] == "classify"
    regression = tuned(bases("bert"), numbers, tmp_path / "b", **half)
    assert regression.card["objective"] == "regress"
    assert {"held_out_rmse", "held_out_pearson"} <= regression.result.keys()
    assert tuned(bases("bert-mlm"), plain, tmp_path / "c").card["objective"] == "masked-lm"
    assert comparison(bases("bert-mlm"), tmp_path / "c").verdict == "bitfit"
    assert tuned(bases("gpt2"), plain, tmp_path / "d").card["objective"] == "causal-lm"
    assert comparison(bases("gpt2"), tmp_path / "d").verdict == "bitfit"


def test_equal_seeds_give_equal_bits_and_others_don_t(bases, task, tmp_path):
    outs = [tmp_path / name for name in "abc"]
    for out, seed in zip(outs, (1, 1, 2), strict=True):
        tuned(bases("bert"), task, out, seed=seed)
    a, b, c = ((out / "model.safetensors").read_bytes() for out in outs)
    assert a == b
    assert a != c


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_interrupted_run_goes_on_to_the_same_bits(bases, task, tmp_path, dtype):
    from transformers import TrainerCallback

    class Interrupts(TrainerCallback):
        def on_epoch_begin(self, args, state, control, **_):
            if state.epoch and state.epoch >= 1:
                raise KeyboardInterrupt

    base, out = bases("bert"), tmp_path / "out"
    hyper = {"epochs": 3, "eval_split": 0.25, "dtype": dtype}
    with pytest.raises(KeyboardInterrupt):
        tuned(base, task, out, callbacks=[Interrupts()], **hyper)
    assert not out.exists()
    with pytest.raises(OutputError, match="--resume"):
        tuned(base, task, out, **hyper)
    with pytest.raises(SettingsError, match="other settings"):
        tuned(base, task, out, resume=True, **(hyper | {"seed": 9}))
    tuned(base, task, out, resume=True, **hyper)
    tuned(base, task, tmp_path / "whole", **hyper)
    assert (
        load_file(out / "model.safetensors").keys() == load_file(tmp_path / "whole/model.safetensors").keys()
    )
    for name, tensor in load_file(out / "model.safetensors").items():
        assert torch.equal(tensor, load_file(tmp_path / "whole/model.safetensors")[name]), name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "whole"]
    assert tuned(base, task, out, resume=True, **hyper).card["steps"] == 3 * 3


def test_one_run_at_a_time(tmp_path):
    with Workplace(tmp_path / "out", {"seed": 1}, resume=False) as first:
        (first.result / "half").write_text("half")
        for resume in (False, True):
            with pytest.raises(OutputError, match="another run is writing"):
                Workplace(tmp_path / "out", {"seed": 1}, resume=resume)
        assert (first.result / "half").read_text() == "half"
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_before_its_first_checkpoint_goes_with_the_next(tmp_path):
    home = tmp_path / ".out.partial"
    (home / "checkpoints/checkpoint-7").mkdir(parents=True)
    (home / "checkpoints/checkpoint-7/trainer_state.json").write_text('{"cut o')
    (home / "run.json").write_text('{"se')
    with Workplace(tmp_path / "out", {"seed": 2}, resume=False) as info:
        assert sorted(path.name for path in home.iterdir()) == ["result", "run.json"]
        (info.result / "run_card.json").write_text('{"run": {"seed": 2}}')
        info.publish()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_a_run_left_that_was_killed_after_its_last_rename_goes_with_the_next(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/run_card.json").write_text('{"run": {"seed": 2}}')
    (tmp_path / ".out.partial/checkpoints").mkdir(parents=True)
    with pytest.raises(OverwriteError):
        Workplace(tmp_path / "out", {"seed": 2}, resume=False)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_nothing_is_overwritten(bases, task, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    for resume in (False, True):
        with pytest.raises(OverwriteError):
            tuned(bases("bert"), task, out, resume=resume)
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


def test_early_stopping_counts_epochs_without_progress(bases, task, tmp_path):
    # A rate of 1e-30 moves no float32: every epoch's loss is the first one's.
    done = tuned(
        bases("bert"), task, tmp_path / "out", learning_rate=1e-30, epochs=9, patience=2, eval_split=0.25
    )
    epochs = [row["epoch"] for row in done.card["curve"] if "held_out_loss" in row]
    assert epochs == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("examples", "held_out", "batch", "epochs", "patience"),
    # 300 steps, or the usual 8 passes where those are more; patience is 3 of 8 where 50 or more judge.
    [
        (64, 0, 16, 75, None),
        (58, 6, 32, 150, None),
        (441, 49, 32, 22, None),
        (450, 50, 32, 20, 8),
        (1_200, 133, 32, 8, 3),
        (10_000, 1_111, 32, 8, 3),
    ],
)
def test_few_examples_get_more_passes_and_judge_no_epoch(examples, held_out, batch, epochs, patience):
    from bitfit_probe.tuning.options import TuneOptions

    settings = TuneOptions(batch_size=batch).on(examples, held_out)
    assert (settings.epochs, settings.patience) == (epochs, patience)
    asked = TuneOptions(batch_size=batch, epochs=3, patience=0).on(examples, held_out)
    assert (asked.epochs, asked.patience) == (3, 0)


def test_few_held_out_examples_are_shown_but_choose_nothing(bases, task, tmp_path):
    done = tuned(bases("bert"), task, tmp_path / "out", learning_rate=2e-2, epochs=6, eval_split=0.25)
    rows = [row for row in done.card["curve"] if "held_out_loss" in row]
    assert len(rows) == 6
    assert (done.card["best_step"], done.card["settings"]["patience"]) == (None, None)
    assert done.result["held_out_loss"] == rows[-1]["held_out_loss"]


def test_the_passes_are_by_what_is_trained_on(bases, task, tmp_path):
    from transformers import TrainerCallback

    class Stops(TrainerCallback):
        def on_step_begin(self, args, state, control, **_):
            self.planned, control.should_training_stop = state.max_steps, True

    stops = Stops()
    done = tuned(
        bases("bert"), task, tmp_path / "out", epochs=None, batch_size=8, eval_split=0.25, callbacks=[stops]
    )
    batches = -(-done.card["data"]["trained_on"] // 8)
    assert done.card["settings"]["epochs"] == -(-300 // batches)
    assert stops.planned == batches * -(-300 // batches)


def test_the_best_epoch_is_what_is_kept(bases, task, tmp_path):
    from tuning.reference import accuracy

    from bitfit_probe.data import read_examples
    from bitfit_probe.inference import load_model
    from bitfit_probe.tuning.encode import split

    out = tmp_path / "out"
    done = tuned(bases("bert"), task, out, learning_rate=2e-2, epochs=6, patience=0, eval_split=0.25)
    rows = [row for row in done.card["curve"] if "held_out_loss" in row]
    assert done.card["best_step"] == min(rows, key=lambda row: row["held_out_loss"])["step"]
    _, held_out = split(read_examples(task), 0.25, 0)
    from transformers import AutoTokenizer

    score = accuracy(
        load_model(out).model, AutoTokenizer.from_pretrained(out), list(held_out.texts), list(held_out.labels)
    )
    assert score == pytest.approx(done.result["held_out_accuracy"])


def searched(monkeypatch, outcome):
    """The search, where a run at a rate comes to `outcome(rate)`."""
    from bitfit_probe.tuning import search
    from bitfit_probe.tuning.options import TuneOptions

    monkeypatch.setattr(search, "_trial", lambda make, task, options: outcome(options.rate))
    return search.search_rate(None, None, TuneOptions(learning_rate=1e-3, search=True))


@pytest.mark.parametrize(
    ("best", "tried"), [(1e-3, (-1, 0, 1)), (8e-3, (-1, 0, 1, 2, 3)), (1e-9, (-4, -3, -2, -1, 0, 1))]
)
def test_the_search_goes_on_beyond_the_edge(monkeypatch, best, tried):
    # A loss that is a parabola in log rate, with its minimum at `best`.
    found, trials = searched(monkeypatch, lambda rate: {"held_out_loss": np.log(rate / best) ** 2})
    rates = [trial["learning_rate"] for trial in trials]
    assert rates == pytest.approx([1e-3 * 10 ** (step / 2) for step in tried])
    assert found.rate == min(rates, key=lambda rate: abs(np.log(rate / best)))


def test_a_rate_that_diverges_is_not_taken(monkeypatch):
    found, _ = searched(monkeypatch, lambda rate: {"held_out_loss": np.nan if rate > 2e-3 else 1.0 / rate})
    assert found.rate == 1e-3


def test_a_classifier_is_chosen_by_accuracy_and_of_equal_ones_by_loss(monkeypatch):
    accuracy = {-1: 0.8, 0: 0.9, 1: 0.9}

    def outcome(rate):
        step = round(2 * np.log10(rate / 1e-3))
        return {"held_out_loss": 1.0 + 0.1 * step, "held_out_accuracy": accuracy.get(step, 0.5)}

    found, trials = searched(monkeypatch, outcome)
    assert found.rate == pytest.approx(1e-3)  # not the lowest loss, which is at the lowest rate
    assert [trial["held_out_accuracy"] for trial in trials] == [0.8, 0.9, 0.9]


def test_a_search_trains_at_the_rate_that_it_found(bases, task, tmp_path):
    done = tuned(bases("bert"), task, tmp_path / "out", search=True, eval_split=0.25)
    trials = done.card["search"]
    assert len(trials) >= 3
    best = max(trials, key=lambda trial: (trial["held_out_accuracy"], -trial["held_out_loss"]))
    assert done.card["settings"]["learning_rate"] == best["learning_rate"]
    assert done.card["run"]["settings"]["search"] is True


def test_divergence_is_an_error_and_leaves_nothing(bases, task, tmp_path):
    with pytest.raises(ModelError, match="diverged"):
        tuned(bases("bert"), task, tmp_path / "out", learning_rate=1e38, epochs=3)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("hyper", "error", "says"),
    [
        ({"roles": ("zz",)}, SettingsError, "choose among .*LN1"),
        ({"roles": ("zz",), "method": "lora"}, SettingsError, "choose among"),
        ({"roles": ("q",), "method": "full"}, SettingsError, "roles"),
        ({"norms": True, "method": "lora"}, SettingsError, "norm"),
        ({"method": "magic"}, SettingsError, "choose bitfit"),
        ({"epochs": 0}, SettingsError, "at least 1"),
        ({"learning_rate": -1.0}, SettingsError, "above 0"),
        ({"warmup_ratio": 1.5}, SettingsError, "shares"),
        ({"search": True}, SettingsError, "held-out"),
        ({"objective": "regress"}, DataError, "classes"),
    ],
)
def test_contradictions_are_said_before_anything_is_written(bases, task, tmp_path, hyper, error, says):
    with pytest.raises(error, match=says):
        tuned(bases("bert"), task, tmp_path / "out", **hyper)
    assert list(tmp_path.iterdir()) == []


def test_the_card_says_what_it_takes_to_do_it_again(bases, task, tmp_path):
    import hashlib

    import transformers

    done = tuned(bases("bert"), task, tmp_path / "out")
    card = done.card
    assert card["run"]["data"] == hashlib.sha256(task.read_bytes()).hexdigest()
    assert card["versions"]["transformers"] == transformers.__version__
    assert card["data"]["labels"] == ["c0", "c1", "c2"]
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["id2label"] == {"0": "c0", "1": "c1", "2": "c2"}
    assert card["moved"]["m2"] > 0
    # Σ rate by hand: 3 steps, no warm-up step (6 % of 3), linear from the peak.
    rates = [row["learning_rate"] for row in card["curve"] if "learning_rate" in row]
    assert rates == pytest.approx([3e-3 * share for share in (1, 2 / 3, 1 / 3)])
    state_file = json.loads((tmp_path / "out" / "trainer_state.json").read_text())
    assert state_file["global_step"] == 3
    assert state_file["best_model_checkpoint"] is None


def test_texts_longer_than_the_model_s_positions_are_cut_there(bases, tmp_path):
    long = [row | {"text": row["text"] + " w50" * 60} for row in rows(16)]
    for kind, longest in (("bert", 24), ("roberta", 23), ("gpt2", 24)):
        done = tuned(bases(kind), write_csv(tmp_path / "long.csv", long), tmp_path / kind)
        assert done.card["data"]["max_length"] == longest
        assert done.card["data"]["cut_at_max_length"] == 16


def test_what_tensorboard_shows_stays_with_the_result(bases, task, tmp_path):
    tuned(bases("bert"), task, tmp_path / "out", log_to=["tensorboard"])
    assert list((tmp_path / "out" / "runs").rglob("events.out.tfevents.*"))


def test_class_weights_count_rare_classes_as_much(bases, tmp_path):
    table = [row for row in rows(48) if row["label"] != "c2" or row["text"].endswith("9")]
    data = write_csv(tmp_path / "rare.csv", table)
    rare = sum(row["label"] == "c2" for row in table)
    assert 0 < rare < 8
    done = tuned(bases("bert"), data, tmp_path / "a", class_weights=True)
    n = len(table)
    assert done.card["class_weights"] == pytest.approx([n / 48, n / 48, n / (3 * rare)])
    tuned(bases("bert"), data, tmp_path / "b")
    heads = [load_file(tmp_path / name / "model.safetensors")["classifier.bias"] for name in "ab"]
    assert heads[0][2] > heads[1][2]  # a weighted loss pulls less towards the frequent classes
