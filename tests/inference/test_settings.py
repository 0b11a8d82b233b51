"""Which settings reach a config class: those that transformers writes, and none that names a source."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.builders import config_of, state, write
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from bitfit_probe.errors import ModelError
from bitfit_probe.inference import load_model
from bitfit_probe.inference.settings import plain_settings

HOME = Path("m")
TEXT = sorted(
    {
        *modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        *modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        *modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    }
)
#: Of another kind than text, and named by it: a backbone of timm, or a part that has no default.
NOT_BUILT = {"gemma4_assistant", "moshi"}
OURS = ("_name_or_path", "dtype", "transformers_version", "model_type")


def written(config):
    return {k: v for k, v in json.loads(config.to_json_string(use_diff=False)).items() if k not in OURS}


def without(value):
    """Without what is ours to choose, at any depth, and without empty names of kinds."""
    if isinstance(value, dict):
        return {k: without(v) for k, v in value.items() if k not in OURS}
    return [without(entry) for entry in value] if isinstance(value, list) else value


@pytest.mark.slow
def test_the_config_of_every_family_of_text_passes_unchanged():
    """What transformers writes for its defaults builds the same config again, 236 families."""
    changed = {}
    for kind in set(TEXT) - NOT_BUILT:
        cls = CONFIG_MAPPING[kind]
        whole = written(cls())
        again = written(cls(**plain_settings(whole, cls, HOME)))
        if without(whole) != without(again):
            changed[kind] = {key for key in whole if without(whole[key]) != without(again.get(key))}
    assert set(changed) <= {"dbrx"}, (
        changed
    )  # its activation is an object with a name, silu in all its models


@pytest.mark.slow
def test_every_word_of_a_family_of_text_may_be_another_word():
    """A setting that chooses a function or a kind of layer is passed on, or the model would be another."""
    ours = {"architectures", "dtype", "init_device", "transformers_version", "vocab_list"}
    sources = {"mamba_ssm_cache_dtype"}
    for kind in TEXT:
        cls = CONFIG_MAPPING[kind]
        for field in dataclasses.fields(cls):
            if field.type not in (str, "str", "str | None", str | None) or field.name in ours | sources:
                continue
            assert plain_settings({field.name: "other_word"}, cls, HOME) == {field.name: "other_word"}, (
                field.name
            )


def test_nested_settings_and_labels_pass():
    cls = CONFIG_MAPPING["llama"]
    scaling = {
        "rope_type": "yarn",
        "factor": 4.0,
        "original_max_position_embeddings": 4096,
        "rope_theta": 10**8,
    }
    labels = {"0": "http://x/y", "1": "a b"}
    said = {"rope_scaling": scaling, "id2label": labels, "label2id": {"http://x/y": 0, "a b": 1}}
    assert plain_settings(said, cls, HOME) == said
    limits = {"time_step_limit": [0.0, {"__float__": "Infinity"}]}
    assert plain_settings(limits, CONFIG_MAPPING["mamba2"], HOME) == {"time_step_limit": [0.0, math.inf]}


def test_what_names_a_source_is_left_out_at_any_depth():
    evil = {
        "_name_or_path": "evil/m",
        "attn_implementation": "evil/k",
        "_attn_implementation": {"": "evil/k"},
        "auto_map": {"AutoModel": "evil.M"},
        "dtype": "float16",
        "my_own": "http://evil",
        "to_dict": 1,
        "attribute_map": {"a": "b"},
    }
    inner = {"model_type": "llama", "hidden_size": 8}
    passed = plain_settings(evil | {"text_config": inner | evil}, CONFIG_MAPPING["llava"], HOME)
    assert passed == {"text_config": inner}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"quantization_config": {"quant_method": "gptq"}}, "quantization_config: the model is quantised"),
        ({"backbone": "resnet50"}, "sets backbone: the model is built around a backbone"),
        ({"backbone_config": {"model_type": "resnet"}}, "sets backbone_config"),
        ({"text_config": {"model_type": "timm_wrapper"}}, "says timm_wrapper"),
        ({"text_config": {"model_type": "evil/model"}}, "does not know the model type 'evil/model'"),
        ({"hidden_act": "evil/kernel"}, "hidden_act to 'evil/kernel', which is no plain word"),
        ({"hidden_act": "../evil"}, "no plain word"),
    ],
)
def test_what_a_model_cannot_be_built_without_is_refused(tmp_path, said, why):
    with pytest.raises(ModelError, match=why) as caught:
        load_model(write(tmp_path / "m", state("bert"), config_of("bert", **said)))
    assert "\n" not in str(caught.value)


def test_the_attention_is_ours_to_choose(tmp_path):
    """The same whatever the file says; an implementation that is not installed was a traceback."""
    plain = load_model(write(tmp_path / "a", state("bert"), config_of("bert"))).model
    for number, name in enumerate(("flash_attention_2", "evil/kernel", "eager")):
        config = config_of("bert", attn_implementation=name, _attn_implementation=name)
        loaded = load_model(write(tmp_path / f"b{number}", state("bert"), config)).model
        assert loaded.config._attn_implementation == plain.config._attn_implementation == "sdpa"


FIELDS = [field.name for field in dataclasses.fields(CONFIG_MAPPING["llama"])]
NESTED = ["text_config", "vision_config", "rope_scaling", "backbone", "attn_implementation", "layer_types"]
KEYS = st.sampled_from([*FIELDS, *NESTED, "my_act"]) | st.text(max_size=12)
WORDS = ["gelu", "evil/kernel", "http://evil", "llama", "../x", "a b", "x" * 99]
TEXTS = st.sampled_from(WORDS) | st.text(max_size=9)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS


def inside(values):
    return st.lists(values, max_size=3) | st.dictionaries(KEYS, values, max_size=3)


def texts_in(value):
    """Texts of a config, labels aside."""
    if isinstance(value, dict):
        for key, entry in value.items():
            if key not in ("id2label", "label2id"):
                yield from texts_in(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from texts_in(entry)
    elif isinstance(value, str):
        yield value


@settings(deadline=None, max_examples=100)
@given(st.dictionaries(KEYS, st.recursive(PLAIN, inside), max_size=6))
def test_no_text_but_a_plain_word_passes_whatever_is_said(said):
    """A source has a slash, a dot, a colon or a blank: none of them comes through, at any depth."""
    passed = {}
    with contextlib.suppress(ModelError):
        passed = plain_settings(said, CONFIG_MAPPING["llava"], HOME)
    assert all(re.fullmatch(r"[A-Za-z0-9_+-]{1,64}", text) for text in texts_in(passed))
