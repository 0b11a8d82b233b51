"""What config.json promises: layers, sizes, the head of the class, types, and the base's own settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support.builders import MODELS, State, config_of, move, state, write
from support.checking import run_rules
from transformers import LlamaForCausalLM

from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.promises import Case, promises_of
from bitfit_probe.records import Finding


def settings_of(kind: str) -> dict[str, Any]:
    return config_of(kind, architectures=[MODELS[kind][0]])


def pair(folder: Path, kind: str, tuned: State | None = None, **changes: Any) -> tuple[Path, Path]:
    """A base, and what was trained from it with other settings in config.json; None leaves one out."""
    base = state(kind)
    tuned = move(base, *base, by=0.01) if tuned is None else tuned
    config = {key: value for key, value in (settings_of(kind) | changes).items() if value is not None}
    return (
        write(folder / "base", base, settings_of(kind)),
        write(folder / "tuned", tuned, config),
    )


def broken(paths: tuple[Path, Path], code: str) -> list[Finding]:
    return [item for item in run_rules(*paths).findings if item.code == code]


def without(kind: str, *parts: str) -> State:
    return {name: t for name, t in state(kind).items() if not any(part in name for part in parts)}


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama", "t5", "distilbert", "roberta", "opt", "vit"])
def test_what_training_saved_keeps_all_that_it_promises(tmp_path: Path, kind: str) -> None:
    check = run_rules(*pair(tmp_path, kind))
    (promises,) = check.promises
    assert promises.of("broken") == promises.of("untold") == ()
    assert {"layers", "parameters", "settings"} <= {item.topic for item in promises.of("kept")}


@pytest.mark.parametrize(
    ("kind", "last"),
    [("bert", "layer.1."), ("gpt2", "h.1."), ("llama", "layers.1."), ("t5", "decoder.block.1.")],
)
def test_layers_that_are_not_there(tmp_path: Path, kind: str, last: str) -> None:
    (finding,) = broken(pair(tmp_path, kind, without(kind, last)), "BP701")
    assert "layer 1 absent" in finding.message
    assert finding.subjects == ("layer 1",)


@pytest.mark.parametrize(("kind", "key"), [("bert", "num_hidden_layers"), ("gpt2", "n_layer")])
def test_layers_that_loading_would_drop(tmp_path: Path, kind: str, key: str) -> None:
    (finding,) = broken(pair(tmp_path, kind, **{key: 1}), "BP701")
    assert "Loading drops layer 1" in finding.message


@pytest.mark.parametrize(
    ("kind", "part", "name"),
    [
        ("bert", "layer.1.attention.output.LayerNorm", "encoder.layer.1.attention.output.LayerNorm.bias"),
        ("gpt2", "h.0.ln_2", "h.0.ln_2.bias"),
        ("llama", "layers.1.mlp.up_proj", "layers.1.mlp.up_proj.weight"),
        ("llama", "model.norm", "norm.weight"),
    ],
)
def test_a_layer_that_is_not_whole(tmp_path: Path, kind: str, part: str, name: str) -> None:
    (finding,) = broken(pair(tmp_path, kind, without(kind, part)), "BP702")
    assert finding.subjects[0] == name
    assert finding.severity == "error"


def test_without_a_base_the_other_layers_say_what_a_layer_holds(tmp_path: Path) -> None:
    tensors = state("bert")
    third = {n.replace("layer.1.", "layer.2."): t.clone() for n, t in tensors.items() if "layer.1." in n}
    lost = "bert.encoder.layer.2.output.dense.bias"
    left = {name: tensor for name, tensor in (tensors | third).items() if name != lost}
    path = write(tmp_path / "one", left, settings_of("bert") | {"num_hidden_layers": 3})
    found = promises_of(Case(open_checkpoint(path))).of("broken")
    assert [item.subjects for item in found] == [("encoder.layer.2.output.dense.bias",)]


@pytest.mark.parametrize(
    ("kind", "changes", "says"),
    [
        ("bert", {"hidden_act": "relu"}, "another function"),
        ("gpt2", {"activation_function": "relu"}, "another function"),
        ("gpt2", {"n_head": 8}, "other heads"),
        ("llama", {"rope_parameters": {"rope_theta": 5e5, "rope_type": "default"}}, "other angles"),
        ("llama", {"rope_parameters": None, "rope_theta": 5e5}, "other angles"),
        ("t5", {"feed_forward_proj": "gelu"}, "another function"),
    ],
)
def test_a_setting_that_is_computed_with(
    tmp_path: Path, kind: str, changes: dict[str, Any], says: str
) -> None:
    (finding,) = broken(pair(tmp_path, kind, **changes), "BP705")
    assert says in finding.message
    assert (finding.severity, len(finding.message) <= 300) == ("error", True)


def test_an_angle_that_the_base_states_and_the_tuned_config_lost(tmp_path: Path) -> None:
    base, tuned = pair(tmp_path, "llama", rope_parameters=None)
    settings = settings_of("llama") | {"rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}}
    (base / "config.json").write_text(json.dumps(settings))
    (finding,) = broken((base, tuned), "BP705")
    assert "rope_theta=1000000.0; found: 10000.0" in finding.message


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_dropout_prob": 0.3, "transformers_version": "4.1", "use_cache": False},
        {"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}},
        {"layer_norm_eps": 1e-12},
    ],
)
def test_settings_that_may_differ(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert broken(pair(tmp_path, "bert", **changes), "BP705") == []


def test_names_of_one_activation_are_one(tmp_path: Path) -> None:
    assert broken(pair(tmp_path, "llama", hidden_act="swish"), "BP705") == []


def test_an_unknown_setting_that_differs_is_named_and_not_judged(tmp_path: Path) -> None:
    check = run_rules(*pair(tmp_path, "bert", strange_knob=3))
    (promises,) = check.promises
    (item,) = promises.of("untold")
    assert (item.subjects, promises.of("broken")) == (("strange_knob",), ())


def test_a_head_under_another_name(tmp_path: Path) -> None:
    tensors = {name.replace("classifier.", "cls_head."): tensor for name, tensor in state("bert").items()}
    (finding,) = broken(pair(tmp_path, "bert", tensors), "BP703")
    assert finding.subjects == ("cls_head.weight",)
    assert "drops what has another name" in finding.message


def test_a_decoder_with_the_head_of_an_encoder(tmp_path: Path) -> None:
    tensors = state("gpt2") | {"classifier.weight": torch.randn(2, 32)}
    paths = pair(tmp_path, "gpt2", tensors, architectures=["GPT2ForSequenceClassification"])
    (finding,) = broken(paths, "BP703")
    assert "promises a head 'score'; found: 'classifier.weight' instead" in finding.message


def test_two_tables_of_other_values_where_config_ties_them(tmp_path: Path) -> None:
    (finding,) = broken(pair(tmp_path, "llama", tie_word_embeddings=True), "BP703")
    assert (finding.severity, finding.subjects) == ("warning", ("lm_head.weight",))


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_an_output_table_of_the_base_that_was_left_out_and_tied(tmp_path: Path, kind: str) -> None:
    output = {"lm_head.weight": torch.randn(64, 32)}
    base = write(tmp_path / "base", state(kind) | output, settings_of(kind) | {"tie_word_embeddings": False})
    tied = settings_of(kind) | {"tie_word_embeddings": True}
    tuned = write(tmp_path / "tuned", move(without(kind, "lm_head"), *without(kind, "lm_head")), tied)
    (finding,) = broken((base, tuned), "BP703")
    assert (finding.severity, finding.subjects[0]) == ("error", "lm_head.weight")
    assert "tie_word_embeddings=true" in finding.message


def test_a_tie_that_the_base_has_too_is_no_loss(tmp_path: Path) -> None:
    assert broken(pair(tmp_path, "gpt2", tie_word_embeddings=True), "BP703") == []


@pytest.mark.parametrize(
    "name", ["BertForSequenceClassification", "BertForMultipleChoice", "BertForTokenClassification"]
)
def test_a_pooler_that_the_class_reads_and_neither_file_has(tmp_path: Path, name: str) -> None:
    left = without("bert", "pooler")
    base = write(tmp_path / "base", left, config_of("bert", architectures=["BertForMaskedLM"]))
    tuned = write(tmp_path / "tuned", move(left, *left), config_of("bert", architectures=[name]))
    found = broken((base, tuned), "BP703")
    lost = ("pooler.dense.weight", "pooler.dense.bias")
    assert [item.subjects for item in found] == ([] if "Token" in name else [lost])


def test_alone_a_pooler_is_missed_as_well(tmp_path: Path) -> None:
    path = write(tmp_path / "one", without("bert", "pooler"), settings_of("bert"))
    (item,) = promises_of(Case(open_checkpoint(path))).of("broken")
    assert (item.topic, item.severity) == ("ends", "error")


def test_a_pooler_of_the_base_is_said_once(tmp_path: Path) -> None:
    found = run_rules(*pair(tmp_path, "bert", without("bert", "pooler"))).findings
    assert [item.code for item in found if item.code in ("BP405", "BP703")] == ["BP405"]


@pytest.mark.parametrize(
    "key", ["image_token_index", "image_token_id", "vision_start_token_id", "boi_token_id"]
)
def test_another_token_for_the_place_of_an_image(tmp_path: Path, key: str) -> None:
    base, tuned = pair(tmp_path, "llama", **{key: 7})
    (base / "config.json").write_text(json.dumps(settings_of("llama") | {key: 5}))
    (finding,) = broken((base, tuned), "BP705")
    assert (finding.severity, finding.subjects) == ("error", (f"config.json: {key}",))


def test_transformers_keeps_tables_of_other_values_apart(tmp_path: Path) -> None:
    _, tuned = pair(tmp_path, "llama", tie_word_embeddings=True)
    loaded = LlamaForCausalLM.from_pretrained(tuned)
    assert not torch.equal(loaded.lm_head.weight, loaded.model.embed_tokens.weight)


def test_sizes_that_config_does_not_state(tmp_path: Path) -> None:
    (finding,) = broken(pair(tmp_path, "llama", intermediate_size=64), "BP704")
    assert "of 32 × 64; found: 32 × 48" in finding.message


def test_a_table_of_other_words(tmp_path: Path) -> None:
    (finding,) = broken(pair(tmp_path, "gpt2", vocab_size=70), "BP704")
    assert "a table of 70 words; found: 'transformer.wte.weight' with 64 rows" in finding.message


@pytest.mark.parametrize(
    ("stored", "stated", "expected"),
    [("float32", "float16", "warning"), ("bfloat16", "float32", None), ("float32", "float32", None)],
)
def test_a_type_that_loading_would_round_to(
    tmp_path: Path, stored: str, stated: str, expected: str | None
) -> None:
    tensors = {name: tensor.to(getattr(torch, stored)) for name, tensor in state("llama").items()}
    found = broken(pair(tmp_path, "llama", tensors, dtype=stated), "BP706")
    assert [item.severity for item in found] == ([expected] if expected else [])


@pytest.mark.parametrize(("method", "severity"), [("gptq", "error"), ("bitsandbytes", "warning")])
def test_settings_of_a_quantiser_that_no_tensor_keeps(tmp_path: Path, method: str, severity: str) -> None:
    (finding,) = broken(pair(tmp_path, "llama", quantization_config={"quant_method": method}), "BP707")
    assert finding.severity == severity


def test_a_shard_less_than_their_names_count(tmp_path: Path) -> None:
    base, tuned = pair(tmp_path, "llama")
    (tuned / "model.safetensors").rename(tuned / "model-00001-of-00002.safetensors")
    weight_map = dict.fromkeys(open_checkpoint(base).tensors, "model-00001-of-00002.safetensors")
    index = {"metadata": {}, "weight_map": weight_map}
    (tuned / "model.safetensors.index.json").write_text(json.dumps(index))
    (finding,) = broken((base, tuned), "BP708")
    assert "2 shards; found: 1 shard" in finding.message
