"""Models of several parts: real classes, by their names in memory and by those in their files."""

from __future__ import annotations

import json

import pytest
from support import composites

from bitfit_probe.architectures import ROLES, Composite, recognise

ROWS = composites.composed()


@pytest.fixture(params=range(len(ROWS)), ids=[row.cls for row in ROWS])
def names(request):
    return composites.names_of(request.param)


def found(names, shapes=None, config=None) -> Composite:
    known = recognise(shapes or names.module, names.config if config is None else config)
    assert isinstance(known, Composite)
    return known


def test_each_part_has_its_family(names):
    known = found(names)
    assert (known.family, known.known_from) == (names.row.family, "config")
    families = {name: own.family for name, own in known.members.items()}
    assert families == names.row.parts


def test_names_alone_show_the_same(names):
    by_config = found(names)
    for shapes in (names.module, names.file):
        known = found(names, shapes, config={})
        assert (known.family, known.known_from) == (names.row.family, "names")
    for name, shape in names.module.items():
        assert known.info(name, len(shape)) == by_config.info(name, len(shape))


def test_every_parameter_has_a_documented_role_and_a_part(names):
    known = found(names)
    infos = {name: known.info(name, len(names.module[name])) for name in names.parameters}
    assert {name: info for name, info in infos.items() if info.role not in ROLES} == {}
    assert {info.stack for info in infos.values()} == set(names.row.parts)


def test_biases_and_norms_are_those_of_the_module_tree(names):
    known = found(names)
    kinds = {name: known.info(name, len(names.module[name])).kind for name in names.parameters}
    loose = {name for name in kinds if name.endswith(("in_proj_bias", "logit_bias"))}
    heads = {name for name, kind in kinds.items() if kind == "head"}
    assert {name for name, kind in kinds.items() if kind == "bias"} == (names.biases | loose) - heads
    assert {name for name, kind in kinds.items() if kind == "norm"} == names.norms


def test_both_spellings_have_one_canonical_name(names):
    in_memory, in_file = found(names), found(names, names.file)
    keys = [in_memory.canonical(name) for name in names.module]
    assert len(set(keys)) == len(keys)
    assert {in_file.canonical(name) for name in names.file} == set(keys)


def test_layers_are_numbered_from_zero_in_every_part(names):
    known = found(names)
    layers: dict[str | None, set[int]] = {}
    for name, shape in names.module.items():
        info = known.info(name, len(shape))
        if info.layer is not None:
            layers.setdefault(info.stack, set()).add(info.layer)
    assert all(own == set(range(len(own))) for own in layers.values()), layers
    assert {"language_model", "vision_tower", "audio_tower", "talker"} & set(names.row.parts) <= set(layers)


def llava(file=True):
    at = next(index for index, row in enumerate(ROWS) if row.cls == "LlavaForConditionalGeneration")
    names = composites.names_of(at)
    return names, found(names, names.file if file else names.module)


def test_the_features_of_an_inner_layer_leave_what_is_behind_it_without_gradient():
    """transformers.LlavaModel takes ``hidden_states[vision_feature_layer]``, embeddings being number 0."""
    names, known = llava()
    still = known.without_gradient(names.file)
    last = {name for name in names.file if "encoder.layers.1." in name or "post_layernorm" in name}
    assert set(still) == last
    assert len(last) == 18
    assert set(still.values()) == {"vision_feature_layer -2"}


@pytest.mark.parametrize(
    ("layer", "count"), [(-1, 2), (0, 34), (1, 18), (2, 2), ([0, -1], 2), ("x", 0), (None, 0)]
)
def test_other_feature_layers(layer, count):
    names, _ = llava()
    known = found(names, names.file, config=names.config | {"vision_feature_layer": layer})
    assert len(known.without_gradient(names.file)) == count


def test_a_pooling_head_that_nothing_reads():
    """Gemma 3 takes SigLIP's last hidden state; the head behind it has no part in any loss."""
    at = next(index for index, row in enumerate(ROWS) if row.cls.startswith("Gemma3"))
    names = composites.names_of(at)
    still = found(names, names.file).without_gradient(names.file)
    assert set(still) == {name for name in names.file if "vision_tower.head." in name}
    assert set(still.values()) == {"features from before its head"}


def test_one_model_alone_is_a_part_of_the_larger_one():
    """A text-only fine-tune has the names of its own class; so has a vision tower that was saved alone."""
    names, known = llava()
    text = {n.replace("language_model.model", "model"): n for n in names.file if ".model." in n}
    vision = {n.replace("vision_tower", "vision_model"): n for n in names.file if n.startswith("vision")}
    for own, part in ((text, "language_model"), (vision, "vision_tower")):
        alone = recognise(own)
        inside = known.around(names.file, alone, own)
        assert {inside.info(name, 2).stack for name in own} == {part}
        assert all(inside.canonical(name) == known.canonical(there) for name, there in own.items())


def test_loaders_take_only_their_own_spellings_for_each_other():
    _, known = llava()
    one = "language_model.model.layers.0.self_attn.q_proj.weight"
    assert known.are_one(one, "model.language_model.layers.0.self_attn.q_proj.weight")
    assert not known.are_one(one, "thinker.language_model.layers.0.self_attn.q_proj.weight")
    assert not known.are_one(one, "model.language_model.layers.1.self_attn.q_proj.weight")


def test_settings_of_a_part_that_are_no_settings_are_no_obstacle():
    names, _ = llava()
    for odd in (None, 3, [], "text", {"model_type": "llava"}, {"model_type": []}):
        known = found(names, config={"model_type": "llava", "text_config": odd, "vision_config": odd})
        assert {name: own.family for name, own in known.members.items()} == names.row.parts
    assert json.loads(json.dumps(names.config))["model_type"] == "llava"


def test_phi_3_with_images():
    """Its class lies beside the weights; names as microsoft/Phi-3.5-vision-instruct has them."""
    embed = "model.vision_embed_tokens"
    expected = {
        "model.embed_tokens.weight": ("language_model", "embedding", None),
        "model.layers.1.self_attn.qkv_proj.weight": ("language_model", "qkv", 1),
        "lm_head.weight": ("language_model", "head", None),
        f"{embed}.img_processor.vision_model.encoder.layers.2.mlp.fc1.bias": ("vision_tower", "m2", 2),
        f"{embed}.img_processor.vision_model.post_layernorm.weight": ("vision_tower", "LNf", None),
        f"{embed}.img_projection.0.weight": ("projector", "projector", None),
        f"{embed}.glb_GN": ("projector", "embedding", None),
    }
    for config in ({"model_type": "phi3_v"}, {}):
        known = recognise(expected, config)
        assert known.family == "phi3_v"
        infos = {name: known.info(name, 2) for name in expected}
        assert {name: (info.stack, info.role, info.layer) for name, info in infos.items()} == expected


def test_two_models_of_any_family():
    import transformers

    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        transformers.ViTConfig(**composites.IMAGE),
        transformers.RobertaConfig(**composites.BERT, is_decoder=True, add_cross_attention=True),
    )
    model = composites.on_meta(transformers.VisionEncoderDecoderModel, config)
    known = recognise(model.state_dict(), config.to_dict())
    assert isinstance(known, Composite)
    assert {name: own.family for name, own in known.members.items()} == {
        "encoder": "vit",
        "decoder": "roberta",
        "projector": "generic",
    }
    infos = {name: known.info(name, tensor.ndim) for name, tensor in model.named_parameters()}
    assert {name: info for name, info in infos.items() if info.role not in ROLES} == {}
