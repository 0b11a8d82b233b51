"""What the families say about real models, against what the models' module trees say."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cache

from support import composites

from bitfit_probe.architectures import ROLES, Architecture, recognise

#: Biases that are no module's ``bias``.
LOOSE_BIASES = ("proj_bias", "router.bias", "q_bias", "v_bias", "r_w_bias", "r_r_bias", "r_s_bias")

#: CLIP's projections are trained with the towers, and the whole model counts them to its body.
SHARED_SPACE = {"text_projection.weight", "visual_projection.weight"}

#: Model types without a class in transformers, and parts that have no model type of their own.
NO_CLASS = {
    "encoder-decoder",
    "idefics_cross",
    "idefics_perceiver",
    "llava_llama",
    "llava_mistral",
    "llava_qwen",
    "phi3_v",
    "phi4mm",
    "speech-encoder-decoder",
    "vision-encoder-decoder",
}
BERT_ROLES = ("q", "k", "v", "m1", "LN1", "m2", "m3", "LN2")


@cache
def architecture(stored) -> Architecture:
    return recognise(stored.shapes, stored.config)


def kinds(stored) -> dict[str, str]:
    known = architecture(stored)
    return {name: known.info(name, len(shape)).kind for name, shape in stored.shapes.items()}


def of_kind(stored, kind: str) -> set[str]:
    return {name for name, its in kinds(stored).items() if its == kind}


def test_config_names_the_family(pair):
    for stored in pair.both:
        known = architecture(stored)
        assert (known.family, known.known_from) == (pair.row.family, "config")


def test_names_alone_show_the_family(pair):
    bare, task = (recognise(stored.shapes) for stored in pair.both)
    assert (bare.family, bare.known_from) == (pair.row.bare_by_names or pair.row.family, "names")
    assert (task.family, task.known_from) == (pair.row.task_by_names or pair.row.family, "names")


def test_names_alone_give_the_same_places(pair):
    """Families that share all names (BERT, RoBERTa) also agree on what these mean."""
    for stored in pair.both:
        by_config, by_names = architecture(stored), recognise(stored.shapes)
        if by_names.family == "clip_vision" and by_config.family == "clip":
            continue  # the stack is known only where the other tower is
        for name, shape in stored.shapes.items():
            assert by_names.info(name, len(shape)) == by_config.info(name, len(shape))


def test_prefix_is_the_body_of_the_task_model(pair):
    assert architecture(pair.bare).prefix == ""
    # transformers takes the text or image tower itself for the body of a CLIP tower's model
    assert architecture(pair.task).prefix in (pair.task.body, "text_model.", "vision_model.")


def test_every_parameter_has_a_documented_role(pair):
    for stored in pair.both:
        known = architecture(stored)
        roles = {name: known.info(name, len(stored.shapes[name])).role for name in stored.parameters}
        assert {name: role for name, role in roles.items() if role not in ROLES} == {}


def test_layers_are_numbered_from_zero_in_every_stack(pair):
    for stored in pair.both:
        known = architecture(stored)
        layers = defaultdict(set)
        for name, shape in stored.shapes.items():
            info = known.info(name, len(shape))
            if info.layer is not None:
                layers[info.stack].add(info.layer)
        expected = {0} if known.family == "albert" else {0, 1, 2}
        assert layers
        assert all(found == expected for found in layers.values()), dict(layers)


def test_stacks(pair):
    known = architecture(pair.bare)
    stacks = {known.info(name, 2).stack for name in pair.bare.shapes} - {None}
    expected = {
        "t5": {"encoder", "decoder"},
        "bart": {"encoder", "decoder"},
        "whisper": {"encoder", "decoder"},
        "clip": {"text", "vision"},
    }
    assert stacks == expected.get(pair.row.family, set())


def test_biases_are_those_of_the_module_tree(pair):
    for stored in pair.both:
        loose = {name for name in stored.parameters if name.endswith(LOOSE_BIASES)}
        assert of_kind(stored, "bias") == (stored.biases | loose) - stored.heads


def test_norm_scales_are_those_of_the_module_tree(pair):
    for stored in pair.both:
        assert of_kind(stored, "norm") == stored.norms - stored.heads


def test_tables_are_embeddings(pair):
    for stored in pair.both:
        assert stored.tables - stored.heads <= of_kind(stored, "embedding")


def test_heads_are_what_the_body_lacks(pair):
    known = architecture(pair.task)
    heads = {name for name in pair.task.shapes if known.info(name, 2).role == "head"}
    assert heads == pair.task.heads - SHARED_SPACE
    assert heads == of_kind(pair.task, "head")
    assert of_kind(pair.bare, "head") == set()


def test_buffers_are_those_of_the_module_tree(pair):
    for stored in pair.both:
        assert of_kind(stored, "buffer") == stored.buffers


def test_canonical_names_of_bare_and_task_model_agree(pair):
    bare, task = ({architecture(stored).canonical(name) for name in stored.shapes} for stored in pair.both)
    body = {
        architecture(pair.task).canonical(name)
        for name in pair.task.parameters
        if name not in pair.task.heads
    }
    # A task model may leave parts out (the pooler, a whole stack) or add mask tokens.
    extra = body - bare - SHARED_SPACE
    assert {name for name in extra if not name.endswith("mask_token")} == set()
    assert all(name in task for name in pair.task.heads - SHARED_SPACE)


def test_canonical_names_stay_canonical(pair):
    for stored in pair.both:
        names = [architecture(stored).canonical(name) for name in stored.shapes]
        assert len(set(names)) == len(names)
        again = recognise(names, stored.config)
        assert [again.canonical(name) for name in names] == names


def test_ties_are_those_of_transformers(pair):
    for stored in pair.both:
        known = architecture(stored)
        for name, target in stored.tied.items():
            # a decoder alone has no shared table; what it ties to is tied in turn
            chain = (known.tied_to(name), known.tied_to(target))
            assert known.canonical(target) in chain[:1] or chain[0] == chain[1] is not None


def test_bert_has_one_bias_for_each_role_of_each_layer(pairs):
    bert = pairs["BertForSequenceClassification"]
    for stored in bert.both:
        known = architecture(stored)
        infos = [known.info(name, 1) for name in stored.shapes]
        counts = Counter((p.role, p.layer) for p in infos if p.kind == "bias" and p.layer is not None)
        assert counts == {(role, layer): 1 for role in BERT_ROLES for layer in range(3)}


def test_every_model_type_is_tested_on_a_real_model(model_types):
    from bitfit_probe.architectures.family import load_families

    known = {kind for family in load_families().values() for kind in family.model_types}
    assert known - model_types - composites.model_types() == NO_CLASS


def test_the_classifier_is_that_of_the_module_tree(pair):
    """The named layers hold all parameters of the head, but for norms; one output a class."""
    classifier = architecture(pair.task).classifier
    if not pair.row.task.endswith("ForSequenceClassification") or classifier is None:
        return
    shapes = pair.task.shapes
    *first, last = classifier.layers
    assert shapes[f"{last}.weight"][0] == (3 if pair.row.model_type == "bart" else 2)  # the configs' defaults
    assert (f"{last}.bias" in shapes) == classifier.bias
    for layer in first:
        assert len(set(shapes[f"{layer}.weight"])) == 1
    modules = {name.rpartition(".")[0] for name in of_kind(pair.task, "head") - pair.task.norms}
    of_head = {name for name in modules if not name.endswith("norm")}
    poolers = {name for name in classifier.layers if name.partition(".")[0] == "pooler"}
    assert of_head | poolers == set(classifier.layers)
    prefix = architecture(pair.task).prefix
    inside = {name.rpartition(".")[0] for name in shapes if prefix and name.startswith(f"{prefix}pooler")}
    assert inside == ({f"{prefix}{classifier.pooler}"} if classifier.pooler else set())


def test_position_tables_are_those_of_the_module_tree(pair):
    known = architecture(pair.bare)
    if known.positions is None:
        return
    there = {known.canonical(name) for name in pair.bare.tables}
    # DeBERTa has one only where positions enter with the input.
    assert {f"{table}.weight" for table in known.positions.tables} <= there
