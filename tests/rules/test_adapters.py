"""BP5xx: adapters alone, and beside weights that they were merged into; peft makes the healthy ones."""

from __future__ import annotations

import json
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.builders import model, state
from support.checking import codes, only, run_rules
from support.pairs import write_pair

QUERY = "base_model.model.bert.encoder.layer.0.attention.self.query"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A LoRA adapter that peft saved, with B trained, and the model that peft merged it into."""
    import peft

    folder = tmp_path_factory.mktemp("adapter")
    settings = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["query", "value"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = peft.get_peft_model(model("bert-mlm"), settings)
        torch.manual_seed(0)
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.05)
        adapted.save_pretrained(folder)
        merged = adapted.merge_and_unload().state_dict()
    tied = {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
    state_dict = {name: tensor.clone() for name, tensor in merged.items() if name not in tied}
    return (
        load_file(folder / "adapter_model.safetensors"),
        json.loads((folder / "adapter_config.json").read_text()),
        state_dict,
    )


def adapter(folder, saved, change=lambda tensors: tensors, **settings):
    """A base and the adapter on it, its tensors changed."""
    tensors, own, _ = saved
    base, tuned = write_pair(folder, state("bert-mlm"), {})
    (tuned / "model.safetensors").unlink()
    kept = {name: tensor.clone() for name, tensor in tensors.items()}
    save_file(change(kept), tuned / "adapter_model.safetensors")
    (tuned / "adapter_config.json").write_text(json.dumps(own | settings))
    return base, tuned


def merge(folder, saved, tuned, *, size=1.0, base=None):
    """Weights with the adapter beside them, its B scaled by `size`."""
    tensors, own, _ = saved
    paths = write_pair(folder, base or state("bert-mlm"), tuned)
    beside = {name: tensor * size if "lora_B" in name else tensor for name, tensor in tensors.items()}
    save_file(beside, paths[1] / "adapter_model.safetensors")
    (paths[1] / "adapter_config.json").write_text(json.dumps(own))
    return paths


def strength(merged, factor):
    base = state("bert-mlm")
    return {name: base[name] + factor * (merged[name] - base[name]) for name in base}


# Alone --------------------------------------------------------------------------------------------


def test_peft_s_own_adapter_is_sound(tmp_path, saved):
    assert codes(*adapter(tmp_path, saved)) == []


def zeroed(*parts):
    def change(tensors):
        for name in tensors:
            if "lora_B" in name and any(part in name for part in parts):
                tensors[name].zero_()
        return tensors

    return change


@pytest.mark.parametrize(
    ("parts", "severity"),
    [(("lora_B",), "error"), (("query",), "warning"), (("layer.0.attention.self.query",), None)],
)
def test_b_is_zero(tmp_path, saved, parts, severity):
    found = [f for f in run_rules(*adapter(tmp_path, saved, zeroed(*parts))).findings if f.code == "BP501"]
    assert [item.severity for item in found] == ([severity] if severity else [])


def test_an_untrained_adapter_of_peft_is_found(tmp_path):
    import peft

    folder = tmp_path / "fresh"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        settings = peft.LoraConfig(r=4, target_modules=["query"])
        peft.get_peft_model(model("bert-mlm"), settings).save_pretrained(folder)
    base, _ = write_pair(tmp_path, state("bert-mlm"), {})
    assert codes(base, folder) == ["BP501"]


def without(*parts):
    return lambda tensors: {name: t for name, t in tensors.items() if not any(part in name for part in parts)}


@pytest.mark.parametrize(
    ("dropped", "words"),
    [
        (("lora_",), "The adapter is empty"),
        (("layer.0.attention.self.query.lora_B",), "lacks a factor in 1 module"),
        (("layer.1",), "lacks 2 modules that its configuration targets"),
        (("query",), "targets query, but none of these 2 modules has factors"),
    ],
)
def test_factors_are_absent(tmp_path, saved, dropped, words):
    assert words in only(*adapter(tmp_path, saved, without(*dropped)), code="BP502").message


def test_chosen_layers_are_not_absent(tmp_path, saved):
    assert codes(*adapter(tmp_path, saved, without("layer.1"), layers_to_transform=[0])) == []


BIAS = "bert.encoder.layer.0.attention.self.query.bias"


@pytest.mark.parametrize(
    ("by", "setting", "found"), [(0, "all", True), (0.01, "all", False), (0, "none", False)]
)
def test_biases_that_should_train(tmp_path, saved, by, setting, found):
    def with_bias(tensors):
        return tensors | {f"base_model.model.{BIAS}": state("bert-mlm")[BIAS] + by}

    assert ("BP503" in codes(*adapter(tmp_path, saved, with_bias, bias=setting))) is found


def test_a_file_beside_the_adapter(tmp_path, saved):
    base, tuned = adapter(tmp_path, saved)
    torch.save({}, tuned / "non_lora_trainables.bin")
    assert codes(base, tuned) == ["BP505"]


@pytest.mark.parametrize(
    ("promised", "found"),
    [(["pooler"], False), (["word_embeddings"], True), (None, False), (["score"], False)],
)
def test_promised_modules(tmp_path, saved, promised, found):
    """`score` is no module of this base: peft lists it for every classifier."""
    assert ("BP505" in codes(*adapter(tmp_path, saved, modules_to_save=promised))) is found


def moved_to(path):
    return lambda tensors: {name.replace("model.bert.", f"model.{path}"): t for name, t in tensors.items()}


@pytest.mark.parametrize(
    ("path", "found"), [("", False), ("language_model.bert.", True), ("net.inner.", True)]
)
def test_paths(tmp_path, saved, path, found):
    """An adapter of the bare encoder lacks the prefix, and fits."""
    paths = adapter(tmp_path, saved, moved_to(path))
    assert ("BP506" in codes(*paths)) is found
    if found:
        assert only(*paths, code="BP506").severity == "error"


@pytest.mark.parametrize(
    ("old", "new"), [(".lora_", ".base_layer.base_layer.lora_"), ("A.weight", "A.default_0.weight")]
)
def test_names_of_an_adapter_on_an_adapter(tmp_path, saved, old, new):
    paths = adapter(tmp_path, saved, lambda tensors: {n.replace(old, new): t for n, t in tensors.items()})
    assert codes(*paths)[0] == "BP510"


@pytest.mark.parametrize(
    ("steps", "size", "found"), [(5000, 1e-6, True), (500, 1e-6, False), (5000, 1.0, False)]
)
def test_an_adapter_that_was_begun_anew(tmp_path, saved, steps, size, found):
    def smaller(tensors):
        return {name: size * tensor if "lora_B" in name else tensor for name, tensor in tensors.items()}

    base, tuned = adapter(tmp_path, saved, smaller)
    (tuned / "trainer_state.json").write_text(json.dumps({"global_step": steps}))
    assert ("BP510" in codes(base, tuned)) is found


def test_dead_weights(tmp_path, saved):
    base, tuned = adapter(tmp_path, saved)
    weights = state("bert-mlm")
    weights[QUERY.removeprefix("base_model.model.") + ".weight"].zero_()
    save_file(weights, base / "model.safetensors")
    found = only(base, tuned, code="BP511")
    assert found.evidence[0].value == 1


def test_without_an_adapter_they_say_so(tmp_path):
    found = run_rules(*write_pair(tmp_path, state("bert-mlm"), state("bert-mlm")))
    reasons = {item.code: item.why for item in found.not_checked}
    assert reasons["BP501"] == reasons["BP511"] == "there is no adapter"
    assert reasons["BP507"] == "no adapter lies beside merged weights"


# Merged -------------------------------------------------------------------------------------------


def test_peft_s_own_merge_is_sound(tmp_path, saved):
    assert codes(*merge(tmp_path, saved, saved[2])) == []


@pytest.mark.parametrize(
    ("factor", "code"), [(1.0, None), (1.45, "BP512"), (1.55, "BP507"), (2.0, "BP507"), (0.45, "BP509")]
)
def test_strength_of_a_merge(tmp_path, saved, factor, code):
    paths = merge(tmp_path, saved, strength(saved[2], factor))
    assert codes(*paths) == ([code] if code else [])
    if code:
        assert only(*paths, code=code).evidence[0].value == pytest.approx(factor, rel=1e-4)


def test_an_unmerged_merge(tmp_path, saved):
    assert codes(*merge(tmp_path, saved, state("bert-mlm"))) == ["BP504"]


def test_a_zero_adapter_beside_the_base_is_no_failed_merge(tmp_path, saved):
    assert codes(*merge(tmp_path, saved, state("bert-mlm"), size=0.0)) == ["BP201"]


def rounded(saved, size):
    """A merge in bfloat16 of the update scaled by `size`; both sides as they are stored."""
    base = {name: tensor.bfloat16() for name, tensor in state("bert-mlm").items()}
    exact = state("bert-mlm")
    tuned = {n: (base[n].float() + size * (saved[2][n] - exact[n])).bfloat16() for n in base}
    return base, tuned


@pytest.mark.parametrize(("size", "found"), [(1.0, False), (0.003, True), (1e-4, True)])
def test_what_rounding_took(tmp_path, saved, size, found):
    base, tuned = rounded(saved, size)
    paths = merge(tmp_path, saved, tuned, size=size, base=base)
    said = [item for item in run_rules(*paths).findings if item.severity != "info"]
    assert ("BP508" in [item.code for item in said]) is found
    if found:
        assert said[0].code == "BP508"


def test_the_loss_is_what_numpy_says(tmp_path, saved):
    base, tuned = rounded(saved, 0.003)
    name = "bert.encoder.layer.0.attention.self.query.weight"
    update = 0.003 * (saved[2][name] - state("bert-mlm")[name]).double()
    rest = tuned[name].double() - base[name].double() - update
    from bitfit_probe.pair import Pair
    from bitfit_probe.rules.merges import merge_beside

    ours, theirs = merge(tmp_path, saved, tuned, size=0.003, base=base)
    found = {item.name: item for item in merge_beside(Pair.open(ours, theirs)).targeted}
    assert found[name].lost == pytest.approx(float(rest.norm() / update.norm()), rel=1e-3)
