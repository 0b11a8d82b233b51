"""How an architecture is recognised: from config.json, from names, or not at all."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitfit_probe.architectures import families, recognise

BERT = [
    "embeddings.word_embeddings.weight",
    "embeddings.LayerNorm.bias",
    *(
        f"encoder.layer.{layer}.{module}.{leaf}"
        for layer in range(2)
        for module in ("attention.self.query", "attention.output.LayerNorm", "output.dense")
        for leaf in ("weight", "bias")
    ),
    "pooler.dense.bias",
]
LLAMA = [
    "embed_tokens.weight",
    *(
        f"layers.{layer}.{module}.weight"
        for layer in range(2)
        for module in ("self_attn.q_proj", "self_attn.o_proj", "mlp.gate_proj", "input_layernorm")
    ),
    "norm.weight",
]


def under(prefix: str, names: list[str]) -> list[str]:
    return [prefix + name for name in names]


def test_families_are_the_files():
    assert "generic" not in families()
    assert {"bert", "gpt2", "llama", "deberta_v2"} <= set(families())
    assert list(families()) == sorted(families())


@pytest.mark.parametrize(
    "prefix", ["", "bert.", "module.", "model.bert.", "encoder.", "models.0.bert.", "a.b.c.d."]
)
def test_any_constant_prefix_is_found(prefix):
    known = recognise([*under(prefix, BERT), "classifier.weight"])
    assert (known.family, known.prefix) == ("bert", prefix)
    assert [known.canonical(name) for name in under(prefix, BERT)] == BERT


component = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,8}", fullmatch=True).filter(
    lambda part: part not in {"embeddings", "encoder", "layer", "pooler", "cls"}
)


@settings(deadline=None)
@given(st.lists(component | st.integers(0, 99).map(str), max_size=4))
def test_a_prefix_changes_no_place_and_no_canonical_name(components):
    prefix = "".join(f"{part}." for part in components)
    bare, known = recognise(BERT), recognise(under(prefix, BERT))
    assert known.prefix == prefix
    for name in BERT:
        assert known.info(prefix + name, 1) == bare.info(name, 1)
        assert known.canonical(prefix + name) == name


def test_config_without_model_type_is_asked_for_its_classes():
    known = recognise(BERT, {"architectures": ["RobertaForMaskedLM"], "hidden_size": 16})
    assert (known.family, known.known_from) == ("roberta", "config")


def test_config_that_says_nothing_leaves_it_to_the_names():
    """The reaction-fingerprint base has a configuration without model_type."""
    mlm = [*under("bert.", BERT), "cls.predictions.bias", "cls.predictions.decoder.weight"]
    known = recognise(mlm, {"hidden_size": 256, "num_hidden_layers": 12})
    assert (known.family, known.known_from, known.prefix) == ("bert", "names", "bert.")


def test_nested_text_config_is_asked():
    names = under("model.language_model.", LLAMA)
    config = {"model_type": "two_towers", "text_config": {"model_type": "llama"}}
    known = recognise(names, config)
    assert (known.family, known.known_from) == ("llama", "config")
    assert known.prefix == "model.language_model."


def test_figures_are_taken_from_the_config_that_named_the_family():
    name = "language_model.layers.0.attention.query_key_value.bias"
    text = {"model_type": "gpt_neox", "num_attention_heads": 4}
    config = {"model_type": "two_towers", "num_attention_heads": 3, "text_config": text}
    known = recognise([name], config)
    assert [part.shape for part in known.parts(name, (48,))] == [(4, 12)] * 3


def test_names_win_over_a_config_that_they_contradict():
    known = recognise(under("model.", LLAMA), {"model_type": "bert"})
    assert (known.family, known.known_from) == ("llama", "names")


def test_a_few_names_in_common_do_not_save_such_a_config():
    names = [f"model.layers.{i}.mlp.down_proj.weight" for i in range(12)]
    names += ["model.embeddings.word_embeddings.weight", "classifier.bias"]
    assert recognise(names, {"model_type": "bert"}).family == "llama"


def test_a_head_alone_shows_no_family():
    assert recognise(["lm_head.weight", "classifier.bias"]).known_from == "heuristics"


def test_three_encoders_in_one_file_are_one_family():
    names = [name for tower in ("query.", "passage.", "teacher.") for name in under(tower, BERT)]
    assert recognise(names).family == "bert"


def test_config_wins_where_names_say_nothing_else():
    known = recognise(["base.q.lora_A.weight", "base.q.lora_B.weight"], {"model_type": "llama"})
    assert (known.family, known.known_from) == ("llama", "config")


def test_foreign_model_type_with_familiar_names_keeps_quiet_about_the_key_bias():
    """ESM has BERT's names and rotary positions."""
    known = recognise(under("esm.", BERT), {"model_type": "esm"})
    assert (known.family, known.known_from) == ("bert", "names")
    assert known.key_bias_cancels is None


def test_unknown_architecture_is_guessed_and_says_so():
    names = ["blocks.0.mixer.weight", "blocks.0.norm.weight", "blocks.1.mixer.bias"]
    known = recognise(names, {"model_type": "mamba9"})
    assert (known.family, known.known_from) == ("generic", "heuristics")
    assert (known.prefix, known.key_bias_cancels) == ("", None)
    assert known.info("blocks.1.mixer.bias", 1).role is None
    assert known.info("blocks.1.mixer.bias", 1).kind == "bias"


def test_no_names_at_all():
    assert recognise([]).known_from == "heuristics"
    assert recognise([], {"model_type": "gpt2"}).family == "gpt2"


@pytest.mark.parametrize(
    ("model_type", "extra", "cancels"),
    [
        ("bert", {}, True),
        ("bert", {"position_embedding_type": "absolute"}, True),
        ("bert", {"position_embedding_type": "relative_key_query"}, False),
        ("roberta", {}, True),
        ("distilbert", {}, True),
        ("electra", {}, True),
        ("albert", {}, True),
        ("mpnet", {}, True),
        ("gpt2", {}, True),
        ("opt", {}, True),
        ("bloom", {}, True),
        ("vit", {}, True),
        ("clip", {}, True),
        ("bart", {}, True),
        ("wav2vec2", {}, True),
        ("gpt_neox", {}, False),
        ("phi", {}, False),
        ("qwen2", {}, False),
        ("modernbert", {}, False),
        ("deberta", {}, False),
        ("deberta-v2", {}, False),
        ("falcon", {}, False),
        ("falcon", {"alibi": True}, True),
        ("falcon", {"alibi": None}, False),
        ("falcon", {"alibi": ["yes"]}, False),
    ],
)
def test_key_bias(model_type, extra, cancels):
    assert recognise([], {"model_type": model_type} | extra).key_bias_cancels is cancels


@pytest.mark.parametrize(("model_type", "cancels"), [("bert", True), ("gpt_neox", False), ("bloom", True)])
def test_key_bias_claim_is_what_the_model_does(model_type, cancels):
    """Moving the key bias moves the output exactly where the family says that it can."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "n_layer": 1, "vocab_size": 40}
    size |= {"num_attention_heads": 4, "n_head": 4, "intermediate_size": 24, "pad_token_id": 0}
    config = transformers.AutoConfig.for_model(model_type, **size)
    model = transformers.AutoModel.from_config(config).eval().double()
    known = recognise(model.state_dict(), config.to_dict())
    tokens = torch.arange(1, 9)[None]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
        before = model(tokens)[0]
        for name, parameter in model.named_parameters():
            info = known.info(name, parameter.ndim)
            if info.kind == "bias" and info.role == "k":
                parameter.add_(1)
            for part in known.parts(name, tuple(parameter.shape)):
                if info.kind == "bias" and part.role == "k":
                    parameter.view(part.shape).narrow(part.axis, part.start, part.stop - part.start).add_(1)
        moved = (model(tokens)[0] - before).abs().max().item()
    assert known.key_bias_cancels is cancels
    # Some models take softmax in single precision whatever their weights are.
    assert moved < 1e-5 if cancels else moved > 1e-2


DEEP: dict = {}
for _ in range(5000):
    DEEP = {"text_config": DEEP}


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": ["bert"]},
        {"model_type": {"bert": 1}},
        {"model_type": None, "architectures": None},
        {"architectures": [None, 3, ["BertModel"], {}]},
        {"architectures": "BertModel"},
        {"architectures": {"BertModel": 1}},
        {"text_config": ["bert"]},
        {"text_config": {"model_type": 7, "architectures": 7}},
        {"model_type": "bert", "position_embedding_type": ["relative_key_query"]},
        {"model_type": "\x00" * 10_000},
        {1: 2},  # no JSON gives this, a caller may
        DEEP,
    ],
    ids=range(12),
)
def test_hostile_configs_raise_nothing_and_hide_no_names(config):
    known = recognise(under("bert.", BERT), config)
    assert (known.family, known.prefix) == ("bert", "bert.")


@settings(deadline=None)
@given(st.lists(st.text(max_size=40), max_size=12))
def test_hostile_names_raise_nothing(names):
    known = recognise(names)
    for name in names:
        known.info(name, 1)
        known.parts(name, (6, 2))
        known.split_names(name)
        known.tied_to(name)
        assert known.canonical(known.canonical(name)) == known.canonical(name)


def test_digits_that_count_nothing_are_no_layers():
    name = f"encoder.layer.{'9' * 5000}.output.dense.bias"
    assert recognise([name]).info(name, 1).layer is None
    assert recognise(BERT).info("encoder.layer.\u00b2.output.dense.bias", 1).layer is None


def test_needs_no_heavy_library():
    code = (
        "import sys; from bitfit_probe.architectures import recognise; recognise(['a.bias']);"
        "sys.exit(any(m in sys.modules for m in ('numpy', 'torch', 'transformers', 'pandas')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
