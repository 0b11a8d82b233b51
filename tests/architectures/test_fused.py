"""Where q, k and v lie in fused tensors, against what the models themselves take for q, k and v."""

from __future__ import annotations

import numpy as np
import pytest

from bitfit_probe.architectures import recognise
from bitfit_probe.records import Part

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

HIDDEN = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 12,
    "vocab_size": 40,
    "pad_token_id": 0,
}


def take(whole: np.ndarray, part: Part) -> np.ndarray:
    """Cut a part out of the whole, as the record says."""
    index = [slice(None)] * len(part.shape)
    index[part.axis] = slice(part.start, part.stop)
    return whole.reshape(part.shape)[tuple(index)]


def parts_of(known, name: str, shape: tuple[int, ...]) -> dict[str, list[int]]:
    """Give the output units of each part: labels 0, 1, 2, … cut out of the bias."""
    labels = np.arange(shape[0])
    return {part.role: take(labels, part).ravel().tolist() for part in known.parts(name, shape)}


@pytest.fixture
def seen():
    """Record what reaches the attention function: query, key and value."""
    from transformers import AttentionInterface

    calls = []

    def probe(module, query, key, value, attention_mask, **_):
        calls.append([tensor[0, :, 0].ravel().tolist() for tensor in (query, key, value)])
        heads = query.shape[1] // value.shape[1]
        return value.repeat_interleave(heads, dim=1).transpose(1, 2), None

    AttentionInterface.register("probe", probe)
    return calls


def label(module) -> None:
    """Let a projection's output be its units' numbers, whatever goes in."""

    def numbered(_module, _inputs, output):
        return torch.arange(output.shape[-1], dtype=output.dtype).expand(output.shape)

    module.register_forward_hook(numbered)


# One token only: at position 0 a rotation turns nothing, so the labels reach attention whole.
TOKEN = torch.tensor([[3]])


@pytest.mark.parametrize(
    ("model_name", "settings", "projection"),
    [
        (
            "GPT2Model",
            {"n_embd": 16, "n_layer": 1, "n_head": 4, "vocab_size": 40},
            "h.0.attn.c_attn",
        ),
        ("GPTNeoXModel", HIDDEN, "layers.0.attention.query_key_value"),
        ("Phi3Model", HIDDEN | {"num_key_value_heads": 2}, "layers.0.self_attn.qkv_proj"),
        ("Phi3Model", HIDDEN, "layers.0.self_attn.qkv_proj"),
        ("ModernBertModel", HIDDEN | {"attention_bias": True}, "layers.0.attn.Wqkv"),
    ],
)
def test_parts_are_what_attention_receives(seen, model_name, settings, projection):
    cls = getattr(transformers, model_name)
    config = cls.config_class(**settings)
    config._attn_implementation = "probe"
    model = cls(config).eval()
    label(model.get_submodule(projection))
    with torch.no_grad():
        model(input_ids=TOKEN)
    query, key, value = seen[0]
    known = recognise(model.state_dict(), config.to_dict())
    units = 3 * 16 if "num_key_value_heads" not in settings else 16 + 2 * 8
    assert parts_of(known, f"{projection}.bias", (units,)) == {"q": query, "k": key, "v": value}


def test_gpt2_cross_attention_holds_keys_then_values(seen):
    config = transformers.GPT2Config(n_embd=16, n_layer=1, n_head=4, vocab_size=40, add_cross_attention=True)
    config._attn_implementation = "probe"
    model = transformers.GPT2Model(config).eval()
    label(model.get_submodule("h.0.crossattention.c_attn"))
    with torch.no_grad():
        model(input_ids=TOKEN, encoder_hidden_states=torch.zeros(1, 1, 16))
    _, key, value = seen[1]
    known = recognise(model.state_dict(), config.to_dict())
    name = "h.0.crossattention.c_attn.bias"
    assert parts_of(known, name, (32,)) == {"xk": key, "xv": value}


@pytest.mark.parametrize(
    ("model_name", "settings", "split"),
    [
        (
            "BloomModel",
            {"hidden_size": 16, "n_layer": 1, "n_head": 4, "vocab_size": 40},
            "_reshape",
        ),
        ("FalconModel", {"new_decoder_architecture": True, "num_kv_heads": 2}, "_split_heads"),
        ("FalconModel", {"new_decoder_architecture": True, "num_kv_heads": 1}, "_split_heads"),
        ("FalconModel", {"multi_query": True}, "_split_heads"),
        ("FalconModel", {"multi_query": False}, "_split_heads"),
    ],
)
def test_parts_are_what_the_models_own_split_gives(model_name, settings, split):
    cls = getattr(transformers, model_name)
    falcon = HIDDEN | {"bias": True} if model_name == "FalconModel" else {}
    config = cls.config_class(**falcon, **settings)
    model = cls(config)
    attention = model.h[0].self_attention
    rows = attention.query_key_value.out_features
    labels = torch.arange(rows).expand(1, 1, rows)
    own = [sorted(set(tensor.ravel().tolist())) for tensor in getattr(attention, split)(labels)]
    known = recognise(model.state_dict(), config.to_dict())
    name = "h.0.self_attention.query_key_value.bias"
    found = parts_of(known, name, (rows,))
    assert found == dict(zip("qkv", own, strict=True))


def test_gpt2_weights_are_cut_along_the_last_axis():
    from transformers.pytorch_utils import Conv1D

    projection = Conv1D(24, 8)
    with torch.no_grad():
        projection.weight.copy_(torch.arange(24.0).expand(8, 24))  # output j is j for input e_i
        projection.bias.zero_()
        assert projection(torch.eye(8)[:1]).ravel().tolist() == list(range(24))
    name = "h.0.attn.c_attn.weight"
    weight = projection.weight.detach().numpy()
    cut = [take(weight, part) for part in recognise([name]).parts(name, weight.shape)]
    assert [part.shape for part in cut] == [(8, 8)] * 3
    assert [sorted({*part.ravel().tolist()}) for part in cut] == [
        list(range(8)),
        list(range(8, 16)),
        list(range(16, 24)),
    ]


@pytest.mark.parametrize(
    ("config", "name", "rows"),
    [
        ({"model_type": "bloom", "n_head": 4}, "h.0.self_attention.query_key_value", 48),
        ({"model_type": "phi3"} | HIDDEN, "layers.0.mlp.gate_up_proj", 24),
        ({"model_type": "modernbert"}, "layers.0.attn.Wqkv", 48),
    ],
)
def test_weights_are_cut_at_the_rows_of_their_biases(config, name, rows):
    known = recognise([f"{name}.weight"], config)
    weight = np.repeat(np.arange(rows)[:, None], 16, axis=1)
    by_bias = parts_of(known, f"{name}.bias", (rows,))
    by_weight = {
        part.role: take(weight, part).reshape(-1, 16)[:, 5].tolist()
        for part in known.parts(f"{name}.weight", weight.shape)
    }
    assert by_weight == by_bias
    assert sorted(row for rows_of in by_bias.values() for row in rows_of) == list(range(rows))


@pytest.fixture
def deberta():
    """Give a DeBERTa layer's attention without positions, which would hide what is looked for."""
    torch.manual_seed(0)
    config = transformers.DebertaConfig(**HIDDEN, relative_attention=False)
    model = transformers.DebertaModel(config).eval()
    attention = model.encoder.layer[0].attention.self
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.normal_()
        attention.v_bias.zero_()
    name = "encoder.layer.0.attention.self.in_proj.weight"
    parts = recognise(model.state_dict(), config.to_dict()).parts(name, (48, 16))
    assert [part.role for part in parts] == ["q", "k", "v"]

    def run_without(role: str):
        with torch.no_grad():
            weight = attention.in_proj.weight
            part = next(part for part in parts if part.role == role)
            rows = take(np.repeat(np.arange(48)[:, None], 16, axis=1), part)[..., 0].ravel()
            weight[rows] = 0
            mask = torch.ones(1, 1, 5, 5)
            return attention(torch.randn(1, 5, 16), mask, output_attentions=True)

    return run_without


def test_deberta_without_q_attends_the_same_from_everywhere(deberta):
    _, attended = deberta("q")
    assert torch.allclose(attended, attended[:, :, :1].expand_as(attended), atol=1e-6)
    assert attended.std(dim=-1).min() > 1e-3  # q_bias is still there, and k


def test_deberta_without_k_attends_uniformly(deberta):
    _, attended = deberta("k")
    assert torch.allclose(attended, torch.full_like(attended, 0.2), atol=1e-6)


def test_deberta_without_v_has_no_context(deberta):
    context, attended = deberta("v")
    assert context.abs().max() == 0
    assert attended.std(dim=-1).min() > 1e-3


@pytest.mark.parametrize(
    ("model_name", "settings", "mlp", "fused", "activation"),
    [
        ("ModernBertModel", HIDDEN, "layers.0.mlp", "Wi", "act"),
        ("Phi3Model", HIDDEN, "layers.0.mlp", "gate_up_proj", "activation_fn"),
    ],
)
def test_gate_is_what_the_activation_receives(model_name, settings, mlp, fused, activation):
    cls = getattr(transformers, model_name)
    config = cls.config_class(**settings)
    module = cls(config).get_submodule(mlp)
    label(getattr(module, fused))
    received = []
    getattr(module, activation).register_forward_pre_hook(
        lambda _module, inputs: received.append(inputs[0].ravel().tolist())
    )
    with torch.no_grad():
        module(torch.zeros(1, 1, 16))
    known = recognise([f"{mlp}.{fused}.weight"], config.to_dict())
    found = parts_of(known, f"{mlp}.{fused}.bias", (24,))
    assert found["gate"] == received[0]
    assert sorted(found["gate"] + found["m2"]) == list(range(24))


def test_torch_attention_gives_the_same_result_from_its_parts():
    torch.manual_seed(0)
    attention = torch.nn.MultiheadAttention(8, 2)
    with torch.no_grad():
        attention.in_proj_bias.normal_()
    x, y, z = torch.randn(3, 5, 1, 8)
    known = recognise(attention.state_dict())
    assert known.known_from == "heuristics"
    weight, bias = (
        {
            part.role: torch.tensor(take(tensor.detach().numpy(), part))
            for part in known.parts(name, tuple(tensor.shape))
        }
        for name, tensor in (
            ("in_proj_weight", attention.in_proj_weight),
            ("in_proj_bias", attention.in_proj_bias),
        )
    )
    split, _ = torch.nn.functional.multi_head_attention_forward(
        x,
        y,
        z,
        8,
        2,
        None,
        torch.cat([bias[role] for role in "qkv"]),
        None,
        None,
        False,
        0.0,
        attention.out_proj.weight,
        attention.out_proj.bias,
        use_separate_proj_weight=True,
        q_proj_weight=weight["q"],
        k_proj_weight=weight["k"],
        v_proj_weight=weight["v"],
    )
    assert torch.allclose(split, attention(x, y, z)[0], atol=1e-6)


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        ({}, (48,)),  # no figure
        ({"num_attention_heads": "4"}, (48,)),
        ({"num_attention_heads": True}, (48,)),
        ({"num_attention_heads": -4}, (48,)),
        ({"num_attention_heads": 10**30}, (48,)),
        ({"num_attention_heads": 5}, (48,)),  # doesn't divide
        ({"num_attention_heads": 4}, (0,)),  # a ZeRO placeholder
        ({"num_attention_heads": 4}, ()),
    ],
)
def test_no_parts_without_fitting_figures(config, shape):
    name = "layers.0.attention.query_key_value.bias"
    assert recognise([name], {"model_type": "gpt_neox"} | config).parts(name, shape) == ()


def test_no_parts_where_query_heads_cannot_share_the_key_heads():
    name = "h.0.self_attention.query_key_value.bias"
    config = {"model_type": "falcon", "num_attention_heads": 4, "new_decoder_architecture": True}
    assert recognise([name], config | {"num_kv_heads": 3}).parts(name, (36,)) == ()
    assert len(recognise([name], config | {"num_kv_heads": 2}).parts(name, (32,))) == 3


@pytest.mark.parametrize("flag", [{}, {"new_decoder_architecture": [True], "multi_query": {}}])
def test_no_parts_where_falcon_does_not_say_which_layout_it_has(flag):
    name = "h.0.self_attention.query_key_value.bias"
    known = recognise([name], {"model_type": "falcon", "num_attention_heads": 4} | flag)
    assert known.family == "falcon"
    assert known.parts(name, (24,)) == ()


def test_falcon_takes_null_for_off():
    name = "h.0.self_attention.query_key_value.bias"
    config = {"model_type": "falcon", "num_attention_heads": 4, "new_decoder_architecture": None}
    parts = recognise([name], config | {"multi_query": True}).parts(name, (24,))
    assert [(part.role, part.stop - part.start) for part in parts] == [("q", 16), ("k", 4), ("v", 4)]


def test_phi3_takes_null_for_as_many_key_heads_as_query_heads():
    name = "layers.0.self_attn.qkv_proj.weight"
    config = {"model_type": "phi3", "num_attention_heads": 4, "num_key_value_heads": None}
    parts = recognise([name], config).parts(name, (48, 16))
    assert [(part.start, part.stop) for part in parts] == [(0, 16), (16, 32), (32, 48)]


def test_unfused_tensors_have_no_parts():
    name = "bert.encoder.layer.0.attention.self.query.weight"
    known = recognise([name])
    assert known.parts(name, (48, 16)) == ()
    assert known.split_names(name) == {}


@pytest.mark.parametrize(
    ("fused", "split"),
    [
        (
            "model.layers.7.self_attn.qkv_proj.bias",
            {role: f"layers.7.self_attn.{role}_proj.bias" for role in "qkv"},
        ),
        (
            "model.layers.7.mlp.gate_up_proj.weight",
            {"gate": "layers.7.mlp.gate_proj.weight", "m2": "layers.7.mlp.up_proj.weight"},
        ),
    ],
)
@pytest.mark.parametrize("model_type", ["phi3", "llama"])
def test_split_names_are_places_of_the_same_family(model_type, fused, split):
    known = recognise([fused], {"model_type": model_type})
    assert known.split_names(fused) == split
    for role, name in split.items():
        assert known.info(name, 2).role == role


def test_split_names_of_torch_attention_follow_its_own_module():
    known = recognise(["layers.0.self_attn.in_proj_weight", "layers.0.linear1.weight"])
    assert known.split_names("layers.0.self_attn.in_proj_weight") == {
        role: f"layers.0.self_attn.{role}_proj.weight" for role in "qkv"
    }
    crossed = "layers.0.multihead_attn.in_proj_bias"
    assert known.split_names(crossed)["xk"] == "layers.0.multihead_attn.k_proj.bias"
    assert known.info(crossed, 1).role == "xqkv"
    assert [part.role for part in known.parts(crossed, (12,))] == ["xq", "xk", "xv"]


def test_dinov2_keeps_gate_first_when_old_files_are_split():
    name = "encoder.layer.0.mlp.weights_in.weight"
    known = recognise([name], {"model_type": "dinov2"})
    assert list(known.split_names(name).values()) == [
        "encoder.layer.0.mlp.gate_proj.weight",
        "encoder.layer.0.mlp.up_proj.weight",
    ]
    assert [(p.role, p.start) for p in known.parts(name, (24, 16))] == [("gate", 0), ("m2", 12)]
