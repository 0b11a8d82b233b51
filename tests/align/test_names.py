"""Which tensor is which, across prefixes, renamings, layouts and sizes."""

from __future__ import annotations

import itertools
import json
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from support.builders import biases, compare, copied, move, moved, row, state, write

import bitfit_probe
from bitfit_probe.align import align, unwrapped
from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.errors import NothingAlignsError, ShapesError

BODY = "bert."
PREFIXES = [
    "bert.",
    "module.",
    "_orig_mod.",
    "model.",
    "base_model.model.",
    "module._orig_mod.",
    "model.bert.",
    "encoder_model.net.",
    "_fsdp_wrapped_module.model.",
    "base_model.model.bert.",
    "module.base_model.model.",
]


def renamed(source, old, new):
    return {new + name.removeprefix(old): tensor for name, tensor in source.items()}


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("swap", [False, True])
def test_a_prefix_on_one_side(prefix, swap, tmp_path):
    base = state("bert-bare")
    names = biases(base)
    sides = [base, move(base, *names)]
    sides[0 if swap else 1] = renamed(sides[0 if swap else 1], "", prefix)
    found = compare(tmp_path, *sides)
    assert (found.verdict, found.summary.changed_biases) == ("bitfit", len(names))
    assert (found.unmatched_base, found.unmatched_tuned) == ((), ())
    for item in found.tensors:
        own = item.name.removeprefix(prefix if swap else "")
        assert item.tuned_name.removeprefix("" if swap else prefix) == own


@pytest.mark.parametrize(("one", "other"), itertools.combinations(PREFIXES[:6], 2))
def test_other_prefixes_on_both_sides(one, other, tmp_path):
    base = state("bert-bare")
    tuned = move(base, *biases(base))
    found = compare(tmp_path, renamed(base, "", one), renamed(tuned, "", other))
    assert (found.verdict, found.summary.compared_tensors) == ("bitfit", len(base))


@pytest.mark.parametrize(
    "wrapper", ["_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module", "module"]
)
def test_a_wrapper_inside_names(wrapper, tmp_path):
    base = state("bert")
    tuned = {n.replace(".layer.1.", f".layer.1.{wrapper}."): t for n, t in move(base, *biases(base)).items()}
    found = compare(tmp_path, base, tuned)
    assert (found.verdict, found.unmatched_base, found.unmatched_tuned) == ("bitfit", (), ())


def test_unwrapped_leaves_plain_names_alone():
    for name in ("module", "a.b", "bert.encoder.layer.0.output.dense.bias", "modules.a", "x.module_list.0"):
        assert unwrapped(name) == name
    assert unwrapped("a.weight_g") == "a.parametrizations.weight.original0"


@pytest.mark.parametrize("swap", [False, True])
def test_gamma_and_beta_inside_norms_only(swap, tmp_path):
    base = state("bert") | {"bert.encoder.layer.0.gamma": torch.ones(3)}
    tuned = move(base, *biases(base))
    old = {
        n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t
        for n, t in tuned.items()
    }
    found = compare(tmp_path, old, base) if swap else compare(tmp_path, base, old)
    assert (found.verdict, found.unmatched_base, found.unmatched_tuned) == ("bitfit", (), ())
    assert row(found, "bert.encoder.layer.0.gamma").tuned_name == "bert.encoder.layer.0.gamma"
    assert found.summary.biases == found.summary.changed_biases == len(biases(base))


@pytest.mark.parametrize(("stored", "other"), [(True, False), (False, True), (True, True)])
def test_a_tied_head_stored_or_not(stored, other, tmp_path):
    base = state("gpt2")
    both = {"lm_head.weight": base["transformer.wte.weight"].clone()}
    one, two = base | (both if stored else {}), base | (both if other else {})
    found = compare(tmp_path, one, two)
    assert (found.verdict, found.summary.head_changed) == ("identical", False)
    assert [item.why for item in found.unmatched_base + found.unmatched_tuned] == ["tied"] * (stored != other)


def test_a_head_that_the_config_unties_is_missing(tmp_path):
    """Without its own output matrix an untied model is not the model: absent, not tied."""
    base = state("gpt2")
    for name, tensors in (("base", base | {"lm_head.weight": torch.ones(64, 32)}), ("tuned", base)):
        (tmp_path / name).mkdir()
        save_file(tensors, tmp_path / name / "model.safetensors")
        config = {"model_type": "gpt2", "tie_word_embeddings": False}
        (tmp_path / name / "config.json").write_text(json.dumps(config))
    (found,) = bitfit_probe.diff(tmp_path / "base", tmp_path / "tuned").comparisons
    assert [(item.name, item.why) for item in found.unmatched_base] == [("lm_head.weight", "absent")]
    assert found.summary.head == "dropped"


def test_a_longer_vocabulary_compares_the_common_rows(tmp_path):
    base = state("llama")
    tuned = copied(base)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        tuned[name] = torch.cat([base[name], torch.ones(6, 32)])
    found = compare(tmp_path, base, tuned)
    assert (found.verdict, found.summary.head) == ("identical", "same")
    assert {(i.name, i.shape, i.why) for i in found.unmatched_tuned} == {
        ("model.embed_tokens.weight", (6, 32), "rows"),
        ("lm_head.weight", (6, 32), "rows"),
    }
    assert found.unmatched_base == ()
    assert row(found, "model.embed_tokens.weight").shape == (64, 32)


def test_a_shorter_vocabulary_still_shows_a_moved_row(tmp_path):
    base = state("gpt2")
    tuned = base | {"transformer.wte.weight": base["transformer.wte.weight"][:50].clone()}
    tuned["transformer.wte.weight"][49, 0] += 1
    found = compare(tmp_path, base, tuned)
    assert moved(found) == {"transformer.wte.weight"}
    assert row(found, "transformer.wte.weight").l1_delta == pytest.approx(1.0, rel=1e-6)
    assert [(i.shape, i.why) for i in found.unmatched_base] == [((14, 32), "rows")]


def test_bare_mlm_base_against_a_classifier(tmp_path):
    """The base's own head is dropped, the classifier is new, the pooler is absent in the base."""
    base = {n.removeprefix("bert."): t for n, t in state("bert-mlm").items()}
    names = biases(base)
    trained = move(base, *names)
    tuned = {f"bert.{n}": t for n, t in trained.items() if not n.startswith("cls.")}
    tuned |= {"classifier.weight": torch.randn(2, 32), "classifier.bias": torch.zeros(2)}
    found = compare(tmp_path, base, tuned)
    assert (found.verdict, found.summary.head) == ("bitfit", "new")
    assert moved(found) == set(names)
    assert {i.name for i in found.unmatched_tuned} == {"classifier.weight", "classifier.bias"}
    assert {i.name for i in found.unmatched_base} == {n for n in base if n.startswith("cls.")}


@pytest.mark.parametrize("swap", [False, True])
def test_a_head_wrapped_in_a_container(swap, tmp_path):
    base = state("llama")
    wrapped = {n.replace("lm_head.", "lm_head.0."): t for n, t in base.items()}
    found = compare(tmp_path, *((wrapped, base) if swap else (base, wrapped)))
    assert found.verdict == "identical"
    assert (found.unmatched_base, found.unmatched_tuned) == ((), ())
    assert not found.summary.head_changed


@pytest.mark.parametrize(("one", "other"), [("backbone.", "net.core."), ("", "net.core."), ("a.b.c.", "")])
def test_an_unknown_architecture_with_any_prefix(one, other, tmp_path):
    shapes = {
        "foo.0.zap.weight": (5, 5),
        "foo.0.zap.bias": (5,),
        "foo.1.zap.weight": (5, 5),
        "foo.1.zap.bias": (5,),
    }
    base = {name: torch.randn(shape) for name, shape in shapes.items()}
    tuned = move(base, "foo.0.zap.bias", "foo.1.zap.bias")
    found = compare(tmp_path, renamed(base, "", one), renamed(tuned, "", other))
    assert found.verdict == "bitfit"
    assert [item.info.layer for item in found.tensors] == [0, 0, 1, 1] or len(found.tensors) == 4


def test_two_spellings_of_one_name_lose_no_tensor(tmp_path):
    """bert.x beside x, and again: all of them appear."""
    base = state("bert-bare")
    double = renamed(base, "", "bert.") | copied(base)
    found = compare(tmp_path, double, base)
    seen = [item.name for item in found.tensors] + [item.name for item in found.unmatched_base]
    assert sorted(seen) == sorted(double)


def test_nothing_aligns(tmp_path):
    one, two = {"alpha.weight": torch.ones(3, 2)}, {"beta.gamma.kernel": torch.ones(3, 2)}
    with pytest.raises(NothingAlignsError) as error:
        compare(tmp_path, one, two)
    assert error.value.code == "BE201"
    assert "'alpha.weight'" in str(error.value)
    assert "'beta.gamma.kernel'" in str(error.value)


def test_no_shape_fits(tmp_path):
    base = {n: t for n, t in state("bert").items() if t.ndim == 2 and "embeddings" not in n}
    with pytest.raises(ShapesError) as error:
        compare(tmp_path, base, {n: torch.ones(3, 7) for n in base})
    assert error.value.code == "BE202"


# Fused and split layouts --------------------------------------------------------------------------


def attention(fused: bool, weights, biases_):
    start = "encoder.layers.0.self_attn."
    if fused:
        return {f"{start}in_proj_weight": torch.cat(weights), f"{start}in_proj_bias": torch.cat(biases_)}
    return {f"{start}{r}_proj.weight": w for r, w in zip("qkv", weights, strict=True)} | {
        f"{start}{r}_proj.bias": b for r, b in zip("qkv", biases_, strict=True)
    }


@pytest.mark.parametrize("swap", [False, True])
def test_fused_in_proj_against_split(swap, tmp_path):
    torch.manual_seed(0)
    weights, start = [torch.randn(8, 8) for _ in "qkv"], [torch.randn(8) for _ in "qkv"]
    tuned = [start[0], start[1], start[2] + 0.25]
    found = compare(tmp_path, attention(not swap, weights, start), attention(swap, weights, tuned))
    assert (found.unmatched_base, found.unmatched_tuned) == ((), ())
    assert [(i.info.role, i.part) for i in found.tensors if i.moved] == [("v", "v")]
    (v,) = (i for i in found.tensors if i.moved)
    assert v.mean_abs_delta == pytest.approx(0.25, rel=1e-5)
    assert Counter(i.info.role for i in found.tensors) == {"q": 2, "k": 2, "v": 2}


def test_gpt2_fused_bias_is_shown_as_q_k_v(tmp_path):
    base = state("gpt2")
    name = "transformer.h.1.attn.c_attn.bias"
    tuned = copied(base)
    tuned[name][32:64] += 0.5  # the middle third: the key
    found = compare(tmp_path, base, tuned)
    parts = {part: row(found, name, part) for part in "qkv"}
    assert [part for part, item in parts.items() if item.moved] == ["k"]
    assert parts["k"].mean_abs_delta == pytest.approx(0.5, rel=1e-5)
    assert {item.shape for item in parts.values()} == {(32,)}
    assert found.summary.changed_tensors == 1
    assert found.summary.changed_bias_parameters == 32


FORMS = ("plain", "old", "new")


@pytest.mark.parametrize(("one", "other"), itertools.product(FORMS, FORMS))
@pytest.mark.parametrize("trained", [False, True])
def test_weight_norm_in_three_forms(one, other, trained, tmp_path):
    """The product g·v/‖v‖ is compared; a doubled gain doubles the weight."""
    torch.manual_seed(0)
    direction, gain = torch.randn(6, 4, 3), torch.rand(1, 1, 3) + 0.5

    def form(kind, gain):
        layer = "encoder.pos_conv_embed.conv."
        rest = {"encoder.layers.0.fc.weight": torch.ones(4, 4), f"{layer}bias": torch.ones(6)}
        if kind == "plain":
            return rest | {f"{layer}weight": gain * direction / direction.norm(dim=(0, 1), keepdim=True)}
        ends = (
            ("weight_g", "weight_v")
            if kind == "old"
            else ("parametrizations.weight.original0", "parametrizations.weight.original1")
        )
        return rest | {layer + ends[0]: gain, layer + ends[1]: direction}

    found = compare(tmp_path, form(one, gain), form(other, 2 * gain if trained else gain))
    assert (found.unmatched_base, found.unmatched_tuned) == ((), ())
    changed = [i for i in found.tensors if (i.relative_l2 or 0) > 1e-6]
    assert len(changed) == trained
    if trained:
        assert changed[0].relative_l2 == pytest.approx(0.5, rel=1e-6)
        assert changed[0].cosine == pytest.approx(1.0, abs=1e-6)


# Nothing is lost ----------------------------------------------------------------------------------

KINDS = ("bert", "gpt2", "llama", "t5", "bert-bare")


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_every_tensor_is_accounted_for_once(tmp_path_factory, data):
    """Whatever is renamed, dropped or reshaped: a tensor is in a pair, or left over, and never both."""
    full = state(data.draw(st.sampled_from(KINDS)))
    folder = tmp_path_factory.mktemp("pair")
    sides = []
    for label in ("base", "tuned"):
        names = data.draw(st.lists(st.sampled_from(sorted(full)), min_size=1, unique=True), label=label)
        side = {}
        for name in names:
            start = data.draw(st.sampled_from(["", "", "", "module.", "bert.", "model.", "x."]))
            cut = full[name].ndim > 0 and data.draw(st.integers(0, 9)) == 0
            side[start + name] = full[name][:1].clone() if cut else full[name].clone()
        sides.append(open_checkpoint(write(folder / f"{label}.safetensors", side)))
    try:
        found = align(*sides)
    except (NothingAlignsError, ShapesError):
        return
    for checkpoint, paired, left in (
        (sides[0], [p.base for p in found.pairs], found.unmatched_base),
        (sides[1], [p.tuned for p in found.pairs if p.in_file], found.unmatched_tuned),
    ):
        assert {t.name for t in paired} | {i.name for i in left} == set(checkpoint.tensors)
        elements = Counter()
        for tensor in paired:
            elements[tensor.name] += tensor.size
        for item in left:
            elements[item.name] += torch.Size(item.shape).numel()
        assert elements == Counter({n: t.size for n, t in checkpoint.tensors.items()})


def test_config_tells_a_bare_directory_its_family(tmp_path):
    base = state("bert-bare")
    folder = write(tmp_path / "model", base, {"model_type": "bert"})
    result = bitfit_probe.diff(folder, write(tmp_path / "t.pt", move(base, *biases(base))))
    assert (result.architecture, result.architecture_known_from) == ("bert", "config")
