"""Canonical names and places: prefixes, old names, heads and look-alikes."""

from __future__ import annotations

import pytest

from bitfit_probe.architectures import recognise
from bitfit_probe.records import TensorInfo


def renamed(names: list[str], *changes: tuple[str, str]) -> list[str]:
    """Write the old names that a file may have."""
    for present, old in changes:
        names = [name.replace(present, old) for name in names]
    return names


def test_gamma_and_beta_of_old_bert_files(pairs):
    task = pairs["BertForSequenceClassification"].task
    norms = [name for name in task.shapes if "LayerNorm" in name]
    old = renamed(norms, ("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta"))
    assert len(old) == 14
    known, present = recognise(old, task.config), recognise(norms, task.config)
    assert [known.canonical(n) for n in old] == [present.canonical(n) for n in norms]
    assert [known.info(n, 1) for n in old] == [present.info(n, 1) for n in norms]


def test_gamma_is_renamed_inside_norms_only():
    known = recognise(["bert.encoder.layer.0.output.dense.bias"], {"model_type": "bert"})
    for name, canonical in {
        "cls.predictions.transform.LayerNorm.beta": "cls.predictions.transform.LayerNorm.bias",
        "bert.extra.layer_norm.gamma": "extra.layer_norm.weight",
        "bert.encoder.layer.0.gamma": "encoder.layer.0.gamma",
        "bert.encoder.layer.0.scale.gamma": "encoder.layer.0.scale.gamma",
        "classifier.gamma": "classifier.gamma",
    }.items():
        assert known.canonical(name) == canonical


def test_vit_files_of_before_transformers_5(pairs):
    task = pairs["ViTForImageClassification"].task
    present = list(task.shapes)
    old = renamed(
        present,
        ("vit.layers.", "vit.encoder.layer."),
        ("attention.o_proj", "attention.output.dense"),
        ("attention.q_proj", "attention.attention.query"),
        ("attention.k_proj", "attention.attention.key"),
        ("attention.v_proj", "attention.attention.value"),
        ("mlp.fc1", "intermediate.dense"),
        ("mlp.fc2", "output.dense"),
    )
    by_names, by_config = recognise(old), recognise(present, task.config)
    assert by_names.family == "vit"
    assert [by_names.canonical(name) for name in old] == [by_config.canonical(n) for n in present]
    assert [by_names.info(n, 1) for n in old] == [by_config.info(n, 1) for n in present]


def test_weight_norm_of_before_torch_2(pairs):
    task = pairs["Wav2Vec2ForCTC"].task
    present = [name for name in task.shapes if "pos_conv_embed" in name]
    old = renamed(
        present,
        ("parametrizations.weight.original0", "weight_g"),
        ("parametrizations.weight.original1", "weight_v"),
    )
    assert old != present
    known = recognise(old, task.config)
    assert [known.canonical(name) for name in old] == [known.canonical(name) for name in present]
    assert {known.info(name, 3).role for name in old} == {"pos_conv"}


def test_fairseq_roberta():
    old = "decoder.sentence_encoder.layers.3.self_attn_layer_norm.bias"
    known = recognise([old], {"model_type": "roberta"})
    assert known.prefix == "decoder."
    assert known.canonical(old) == "encoder.layer.3.attention.output.LayerNorm.bias"
    assert known.info(old, 1) == TensorInfo("LN1", 3, None, "bias")


def test_gpt_neox_head_of_before_transformers_5():
    known = recognise(["gpt_neox.final_layer_norm.weight"], {"model_type": "gpt_neox"})
    assert known.canonical("embed_out.weight") == "lm_head.weight"
    assert known.tied_to("embed_out.weight") == "embed_in.weight"


@pytest.mark.parametrize("outer", ["", "model."])
def test_heads_lose_only_what_stands_before_body_and_head(outer):
    body = f"{outer}bert.encoder.layer.0.output.dense.bias"
    head = f"{outer}classifier.weight"
    known = recognise([body, head])
    assert known.prefix == f"{outer}bert."
    assert known.canonical(head) == "classifier.weight"
    assert known.info(head, 2) == TensorInfo("head", None, None, "head")


@pytest.mark.parametrize(
    ("model_type", "name"),
    [
        ("vit", "decoder.0.bias"),
        ("vit", "distillation_classifier.bias"),
        ("bert", "cls.predictions.bias"),
        ("roberta", "lm_head.layer_norm.bias"),
        ("modernbert", "head.norm.weight"),
        ("deberta-v2", "pooler.dense.bias"),
        ("wav2vec2", "project_q.bias"),
        ("xlnet", "sequence_summary.summary.bias"),
    ],
)
def test_heads_are_known_without_a_body(model_type, name):
    """A file may hold what was trained and nothing else."""
    known = recognise([name], {"model_type": model_type})
    assert known.info(name, 1) == TensorInfo("head", None, None, "head")


def test_whatever_stands_beside_the_body_is_a_head():
    """A model of one's own: the encoder in an attribute, a head of any name beside it."""
    body = [f"bert.encoder.layer.{i}.output.dense.bias" for i in range(12)]
    known = recognise([*body, "my_mlp.0.weight", "my_mlp.0.bias", "crf.transitions"])
    for name in ("my_mlp.0.weight", "my_mlp.0.bias", "crf.transitions"):
        assert known.info(name, 1) == TensorInfo("head", None, None, "head")
        assert known.canonical(name) == name


def test_another_tower_beside_the_body_is_no_head():
    body = [f"language_model.layers.{i}.self_attn.q_proj.weight" for i in range(12)]
    tower = "vision_tower.blocks.0.attn.qkv.bias"
    known = recognise([*body, tower, "connector.weight"])
    assert known.prefix == "language_model."
    assert known.info(tower, 1) == TensorInfo("qkv", 0, None, "bias")
    assert known.info("connector.weight", 2).kind == "weight"


def test_second_encoder_keeps_its_prefix():
    names = [f"query.encoder.layer.{i}.output.dense.bias" for i in range(3)]
    names += [f"passage.encoder.layer.{i}.output.dense.bias" for i in range(2)]
    known = recognise(names)
    assert known.prefix == "query."
    assert known.canonical(names[-1]) == names[-1]
    assert known.info(names[-1], 1) == TensorInfo("m3", 1, None, "bias")


@pytest.mark.parametrize(
    ("model_type", "name", "ndim", "kind"),
    [
        ("gpt2", "transformer.h.0.attn.bias", 4, "buffer"),
        ("gpt2", "h.0.attn.bias", 1, "buffer"),
        ("gpt2", "h.0.attn.masked_bias", 0, "buffer"),
        ("gpt2", "h.0.crossattention.bias", 4, "buffer"),
        ("gpt2", "h.0.attn.c_attn.bias", 1, "bias"),
        ("gpt_neo", "transformer.h.0.attn.attention.bias", 4, "buffer"),
        ("gpt_neo", "h.0.attn.attention.bias", 1, "buffer"),
        ("gpt_neo", "h.0.attn.attention.out_proj.bias", 1, "bias"),
        ("gptj", "h.0.attn.bias", 4, "buffer"),
        ("gpt_neox", "gpt_neox.layers.0.attention.bias", 4, "buffer"),
        ("gpt_neox", "gpt_neox.layers.0.attention.rotary_emb.inv_freq", 1, "buffer"),
        ("gpt_neox", "gpt_neox.layers.0.attention.dense.bias", 1, "bias"),
        ("bert", "bert.embeddings.position_ids", 2, "buffer"),
        ("bert", "bert.embeddings.token_type_ids", 2, "buffer"),
        ("llama", "model.layers.0.self_attn.rotary_emb.inv_freq", 1, "buffer"),
        ("bart", "final_logits_bias", 2, "buffer"),
        ("clip", "logit_scale", 0, "weight"),
        ("clip", "text_model.embeddings.position_ids", 2, "buffer"),
        (
            "t5",
            "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
            2,
            "embedding",
        ),
        ("mpnet", "encoder.relative_attention_bias.weight", 2, "embedding"),
        ("deberta", "deberta.encoder.layer.0.attention.self.q_bias", 1, "bias"),
        ("deberta", "deberta.encoder.layer.0.attention.self.v_bias", 1, "bias"),
    ],
)
def test_look_alikes(model_type, name, ndim, kind):
    assert recognise([name], {"model_type": model_type}).info(name, ndim).kind == kind


@pytest.mark.parametrize(
    ("name", "role", "layer", "stack"),
    [
        ("encoder.block.2.layer.0.layer_norm.weight", "LN1", 2, "encoder"),
        ("encoder.block.2.layer.1.layer_norm.weight", "LN2", 2, "encoder"),
        ("decoder.block.2.layer.1.layer_norm.weight", "LNx", 2, "decoder"),
        ("decoder.block.2.layer.2.layer_norm.weight", "LN2", 2, "decoder"),
        ("decoder.block.1.layer.1.EncDecAttention.v.weight", "xv", 1, "decoder"),
        ("decoder.final_layer_norm.weight", "LNf", None, "decoder"),
        ("shared.weight", "embedding", None, None),
    ],
)
def test_t5_tells_its_sublayers_apart(pairs, name, role, layer, stack):
    stored = pairs["T5ForConditionalGeneration"].bare
    info = recognise(stored.shapes, stored.config).info(name, 1)
    assert (info.role, info.layer, info.stack) == (role, layer, stack)


@pytest.mark.parametrize(
    ("model_type", "name", "target"),
    [
        ("gpt2", "lm_head.weight", "wte.weight"),
        ("gpt2", "transformer.wte.weight", None),
        ("bert", "cls.predictions.decoder.bias", "cls.predictions.bias"),
        ("t5", "encoder.embed_tokens.weight", "shared.weight"),
        ("llama", "score.weight", None),
    ],
)
def test_ties(model_type, name, target):
    assert recognise([name], {"model_type": model_type}).tied_to(name) == target


def test_unknown_names_inside_a_known_body_are_guessed():
    body = [f"bert.encoder.layer.{i}.output.dense.bias" for i in range(4)]
    known = recognise([*body, "bert.encoder.layer.1.attention.self.query.lora_A.weight"])
    info = known.info("bert.encoder.layer.1.attention.self.query.lora_A.weight", 2)
    assert info == TensorInfo("q", 1, None, "weight")
