"""What bias-only training must not cost or lose, and an independent loop beside it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.builders import model, state
from tuning.reference import train as reference_train

import bitfit_probe as bp
from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.data import read_examples
from bitfit_probe.tuning.build import build
from bitfit_probe.tuning.master_weights import cast_at_use, master_of, settle
from bitfit_probe.tuning.options import TuneOptions


def built(base, task, **settings):
    return build(open_checkpoint(base), read_examples(task), "classify", TuneOptions(**settings))


def step(model, optimizer=None):
    """One forward and backward pass; gives the bytes that torch kept for the backward pass."""
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    ids = torch.arange(4, 52).reshape(4, 12)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model(input_ids=ids, labels=torch.tensor([0, 1, 2, 0])).loss
    loss.backward()
    if optimizer is not None:
        optimizer.step()
    return {place: size for place, size in kept.items() if place not in parameters}


def test_no_gradient_is_made_for_what_rests(bases, task):
    tuned = built(bases("bert"), task, method="bitfit").model
    step(tuned)
    with_gradient = {name for name, parameter in tuned.named_parameters() if parameter.grad is not None}
    assert with_gradient == {name for name, parameter in tuned.named_parameters() if parameter.requires_grad}
    assert not any(name.endswith("weight") and "classifier" not in name for name in with_gradient)


def test_inputs_of_frozen_matrices_are_not_kept(bases, task):
    models = {method: built(bases("bert"), task, method=method).model.eval() for method in ("bitfit", "full")}
    inputs = {}
    for method, tuned in models.items():
        module = tuned.bert.encoder.layer[1].output.dense  # its input is used by nothing else
        module.register_forward_pre_hook(
            lambda _, args, method=method: inputs.update({method: args[0].untyped_storage().data_ptr()})
        )
    kept = {method: step(tuned) for method, tuned in models.items()}
    assert inputs["full"] in kept["full"]
    assert inputs["bitfit"] not in kept["bitfit"]
    assert sum(kept["bitfit"].values()) < 0.75 * sum(kept["full"].values())


@pytest.mark.parametrize("method", ["bitfit", "head", "full"])
def test_it_takes_the_steps_of_an_independent_loop(bases, task, tmp_path, method):
    # All examples in each batch and no dropout: nothing is left to chance but the head, drawn from one seed.
    base = tmp_path / "base"
    calm = model("bert")
    calm.config.hidden_dropout_prob = calm.config.attention_probs_dropout_prob = 0.0
    calm.save_pretrained(base)
    (base / "tokenizer.json").write_bytes((bases("bert") / "tokenizer.json").read_bytes())
    (base / "tokenizer_config.json").write_bytes((bases("bert") / "tokenizer_config.json").read_bytes())
    weights = {
        n: t for n, t in load_file(base / "model.safetensors").items() if not n.startswith("classifier")
    }
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    data = read_examples(task)
    hyper = {"epochs": 4, "batch_size": 64, "max_length": 24, "warmup_ratio": 0.25, "seed": 3}
    options = bp.TuneOptions(method=method, learning_rate=1e-3, eval_split=0.0, **hyper)
    bp.tune(base, task, out=tmp_path / "out", options=options)
    theirs, _ = reference_train(base, list(data.texts), list(data.labels), method=method, rate=1e-3, **hyper)
    ours = load_file(tmp_path / "out" / "model.safetensors")
    start, moved = state("bert"), {}
    for name, tensor in theirs.state_dict().items():
        if name in ours:
            assert torch.allclose(ours[name], tensor, atol=2e-5), name
        if ours[name].shape == start[name].shape:
            moved[name] = float((ours[name] - start[name]).abs().max())
    trained = {
        "head": "classifier.bias",
        "bitfit": "bert.pooler.dense.bias",
        "full": "bert.pooler.dense.weight",
    }
    rested = {"head": "bert.pooler.dense.bias", "bitfit": "bert.pooler.dense.weight"}
    assert trained[method] not in moved or moved[trained[method]] > 1e-3
    assert method == "full" or moved[rested[method]] == 0


def test_a_step_too_small_for_bfloat16_is_not_lost(bases, task, tmp_path):
    base = tmp_path / "half"
    model("bert").to(torch.bfloat16).save_pretrained(base)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (base / name).write_bytes((bases("bert") / name).read_bytes())
    hyper = {"epochs": 1, "batch_size": 64, "eval_split": 0.0, "warmup_ratio": 0.0}
    options = bp.TuneOptions(dtype="bfloat16", learning_rate=1e-5, **hyper)
    bp.tune(base, task, out=tmp_path / "out", options=options)
    before, after = load_file(base / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    name = "bert.encoder.layer.0.intermediate.dense.bias"
    assert (before[name].dtype, after[name].dtype) == (torch.bfloat16, torch.float32)
    # AdamW's first step is its rate in every element that has a gradient; bfloat16 would keep hardly any.
    steps = (after[name] - before[name].float()).abs().numpy()
    assert np.median(steps) == pytest.approx(1e-5, rel=1e-3)
    lost = (before[name].float() + 1e-5).to(torch.bfloat16) == before[name]
    assert lost.float().mean() > 0.5
    weight = "bert.encoder.layer.0.intermediate.dense.weight"
    assert after[weight].dtype == torch.bfloat16
    assert torch.equal(before[weight], after[weight])
    found = bp.diff(base, tmp_path / "out").comparisons[0]
    assert (found.verdict, found.summary.offenders) == ("bitfit", ())


def in_half(kind):
    half = model(kind).to(torch.bfloat16)
    for name, parameter in half.named_parameters():
        parameter.requires_grad_(name.endswith("bias"))
    return half


def test_masters_are_cast_where_they_are_used_and_settle_under_their_own_names():
    half = in_half("bert")
    before = {name: tensor.clone() for name, tensor in half.state_dict().items()}
    layer = half.bert.encoder.layer[0].intermediate.dense
    cast_at_use(half)
    master = master_of(half, "bert.encoder.layer.0.intermediate.dense.bias")
    with torch.no_grad():
        master.add_(1e-5)
    assert (layer.bias.dtype, master.dtype) == (torch.bfloat16, torch.float32)
    half(input_ids=torch.arange(4, 12)[None])
    # A checkpoint in between has the usual names, and can be loaded again.
    between = {name: tensor.clone() for name, tensor in half.state_dict().items()}
    assert between.keys() == before.keys()
    with torch.no_grad():
        master.zero_()
    half.load_state_dict(between)
    assert torch.equal(master, before["bert.encoder.layer.0.intermediate.dense.bias"].float() + 1e-5)
    settle(half)
    assert half.state_dict().keys() == before.keys()
    assert torch.equal(layer.bias, master)
    assert layer.weight.dtype == torch.bfloat16


def test_tied_parameters_keep_one_master():
    half = in_half("bert-mlm")
    assert half.cls.predictions.decoder.bias is half.cls.predictions.bias
    cast_at_use(half)
    masters = [master_of(half, f"cls.predictions.{name}") for name in ("bias", "decoder.bias")]
    assert masters[0] is masters[1]
    settle(half)
    assert half.cls.predictions.decoder.bias is half.cls.predictions.bias
    assert half.cls.predictions.bias.dtype == torch.float32
