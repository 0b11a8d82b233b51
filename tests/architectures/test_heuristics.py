"""Names that no family knows, read by their words."""

from __future__ import annotations

import pytest
import torch

from bitfit_probe.architectures import recognise
from bitfit_probe.records import TensorInfo


@pytest.fixture(scope="module")
def unknown():
    known = recognise(["tower.0.mystery.weight"])
    assert known.known_from == "heuristics"
    return known


#: All that torch's LSTM and LSTMCell have.
RECURRENT_BIASES = [
    name
    for layer in (torch.nn.LSTM(2, 2, 2, bidirectional=True, proj_size=1), torch.nn.LSTMCell(2, 2))
    for name, _ in layer.named_parameters()
    if name.startswith("bias")
]


def test_a_recurrent_layer_on_a_body_is_no_head():
    """Its head stands behind it."""
    bert = recognise(
        [f"bert.encoder.layer.0.attention.self.{part}.weight" for part in ("query", "key", "value")]
        + ["lstm.bias_ih_l0", "out.bias"]
    )
    assert bert.info("lstm.bias_ih_l0", 1).kind == "bias"
    assert bert.info("out.bias", 1).kind == "head"


@pytest.mark.parametrize(
    ("name", "ndim", "role", "layer", "kind"),
    [
        ("blocks.3.attn.qkv.weight", 2, "qkv", 3, "weight"),
        ("blocks.3.attn.proj.bias", 1, "m1", 3, "bias"),
        ("blocks.3.norm1.weight", 1, "LN1", 3, "norm"),
        ("blocks.3.norm1.bias", 1, "LN1", 3, "bias"),
        ("blocks.3.norm2.weight", 1, "LN2", 3, "norm"),
        ("blocks.3.mlp.fc1.bias", 1, "m2", 3, "bias"),
        ("blocks.3.mlp.fc2.bias", 1, "m3", 3, "bias"),
        ("layers.1.attention.wq.weight", 2, "q", 1, "weight"),
        ("layers.1.attention.wo.weight", 2, "m1", 1, "weight"),
        ("layers.1.feed_forward.w1.weight", 2, "gate", 1, "weight"),
        ("layers.1.feed_forward.w2.weight", 2, "m3", 1, "weight"),
        ("layers.1.feed_forward.w3.weight", 2, "m2", 1, "weight"),
        ("layers.1.final_layer_norm.bias", 1, "LN2", 1, "bias"),
        ("final_layer_norm.bias", 1, "LNf", None, "bias"),
        ("layers.1.self_attn.in_proj_bias", 1, "qkv", 1, "bias"),
        ("layers.1.multihead_attn.out_proj.weight", 2, "xm1", 1, "weight"),
        ("layers.1.encoder_attn.k_proj.bias", 1, "xk", 1, "bias"),
        ("layer.2.attention.output.dense.bias", 1, "m1", 2, "bias"),
        ("layer.2.output.dense.bias", 1, "m3", 2, "bias"),
        ("layers.0.some_norm.gamma", 1, "LN", 0, "norm"),
        ("layers.0.some_norm.beta", 1, "LN", 0, "bias"),
        ("layers.0.odd.weight", 1, "LN", 0, "norm"),
        ("layers.0.odd.weight", 2, None, 0, "weight"),
        ("layers.0.odd.bias", 1, None, 0, "bias"),
        ("layers.0.attn.bias", 4, None, 0, "buffer"),
        ("layers.0.rotary.inv_freq", 1, None, 0, "buffer"),
        ("stem.bn.running_mean", 1, None, None, "buffer"),
        ("stem.bn.num_batches_tracked", 0, None, None, "buffer"),
        ("embed_tokens.weight", 2, "embedding", None, "embedding"),
        ("relative_position_bias_table", 2, "embedding", None, "embedding"),
        ("layers.0.relative_attention_bias.weight", 2, "embedding", 0, "embedding"),
        ("cls_token", 3, "embedding", None, "embedding"),
        ("lm_head.weight", 2, "head", None, "head"),
        ("classifier.bias", 1, "head", None, "head"),
        ("fc.bias", 1, "head", None, "head"),
        ("pooler.dense.bias", 1, "pooler", None, "bias"),
        *((f"rnn.{leaf}", 1, None, None, "bias") for leaf in RECURRENT_BIASES),
        ("rnn.weight_hh_l0_reverse", 2, None, None, "weight"),
        ("rnn.weight_hr_l0", 2, None, None, "weight"),
        ("blocks.0.attn.q_bias", 1, "q", 0, "bias"),
        ("layers.0.self_attn.pos_bias_u", 2, None, 0, "bias"),
        ("layers.0.attn.bias_k", 3, None, 0, "weight"),
        ("dense.bias:0", 1, None, None, "bias"),
        ("tower/dense/bias:0", 1, None, None, "bias"),
        ("tower/LayerNorm/beta:0", 1, None, None, "bias"),
        ("some_norm.gamma:0", 1, "LN", None, "norm"),
        ("bn.running_mean:0", 1, None, None, "buffer"),
    ],
)
def test_words(unknown, name, ndim, role, layer, kind):
    assert unknown.info(name, ndim) == TensorInfo(role, layer, None, kind)


def test_two_stacks_are_told_apart():
    names = ["encoder.blocks.0.zork.bias", "decoder.blocks.0.zork.bias"]
    known = recognise(names)
    assert [known.info(name, 1).stack for name in names] == ["encoder", "decoder"]


def test_one_stack_needs_no_name():
    name = "encoder.blocks.0.zork.bias"
    assert recognise([name]).info(name, 1).stack is None


def test_torch_transformer_has_a_role_for_every_parameter():
    torch = pytest.importorskip("torch")
    with torch.device("meta"):
        model = torch.nn.Transformer(8, 2, 2, 2, 16)
    shapes = {name: tensor.ndim for name, tensor in model.state_dict().items()}
    known = recognise(shapes)
    assert known.known_from == "heuristics"
    infos = {name: known.info(name, ndim) for name, ndim in shapes.items()}
    assert [name for name, info in infos.items() if info.role is None] == []
    biases = {name for name, info in infos.items() if info.kind == "bias"}
    assert biases == {name for name in shapes if name.endswith("bias")}
    layers = {(info.stack, info.layer) for info in infos.values() if info.layer is not None}
    assert layers == {(stack, layer) for stack in ("encoder", "decoder") for layer in (0, 1)}
