"""The verdict on tiny real models, each changed by plan."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from support.builders import biases, cast, compare, copied, diff_states, model, move, moved, row, state

from bitfit_probe.rendering.coverage import types_sentence
from bitfit_probe.rendering.headline import headline

BIASED = ["bert", "roberta", "distilbert", "gpt2", "vit", "opt"]
PLAIN = ["llama", "t5"]
ALL = BIASED + PLAIN
HEADS = ("classifier", "cls", "lm_head", "pre_classifier")


def matrices(source, *, head=False):
    return [n for n, t in source.items() if t.ndim >= 2 and (head or not n.startswith(HEADS))]


def norms(source):
    words = ("norm", "ln_", "layer_norm")
    return [
        n
        for n in source
        if n.endswith("weight") and any(w in n.lower() for w in words) and source[n].ndim == 1
    ]


@pytest.mark.parametrize("kind", ALL)
def test_identical(kind, tmp_path):
    found = compare(tmp_path, state(kind), state(kind))
    assert found.verdict == "identical"
    assert found.summary.changed_tensors == found.summary.changed_parameters == 0
    assert all(item.identical and item.judged_by == "compared" for item in found.tensors)
    assert not found.summary.head_changed
    assert (found.unmatched_base, found.unmatched_tuned) == ((), ())


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_cast_is_rounding_only(kind, dtype, tmp_path):
    base = state(kind)
    found = compare(tmp_path, base, cast(base, dtype))
    assert found.verdict == "rounding-only"
    assert found.summary.rounded_to == str(dtype).removeprefix("torch.")
    assert moved(found) == set()


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_cast_and_back_is_rounding_only(kind, dtype, tmp_path):
    """float32 in the file, but every value is one of the coarser type."""
    base = state(kind)
    found = compare(tmp_path, base, cast(base, dtype, torch.float32))
    assert found.verdict == "rounding-only"
    assert found.summary.rounded_to == str(dtype).removeprefix("torch.")


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_widened_base_is_rounding_only(kind, dtype, tmp_path):
    base = cast(state(kind), dtype)
    found = compare(tmp_path, base, cast(base, torch.float32))
    assert found.verdict == "rounding-only"
    assert found.summary.rounded_to is None  # nothing was rounded
    assert all(item.changed_fraction == 0.0 for item in found.tensors)


SAVED = {
    "fp32": (),
    "bf16": (torch.bfloat16,),
    "fp16": (torch.float16,),
    "bf16 and back": (torch.bfloat16, torch.float32),
}


@pytest.mark.parametrize("kind", BIASED)
@pytest.mark.parametrize("saved", SAVED)
def test_bitfit(kind, saved, tmp_path):
    """Exactly the trained biases moved, whatever the type in which the model was saved."""
    base = state(kind)
    names = biases(base)
    found = compare(tmp_path, base, cast(move(base, *names, by=0.1), *SAVED[saved]))
    assert found.verdict == "bitfit"
    assert found.summary.offenders == ()
    assert moved(found) == set(names)
    assert found.summary.changed_biases == found.summary.biases == len(names)
    assert found.summary.changed_parameters >= 0.9 * sum(base[n].numel() for n in names)


@pytest.mark.parametrize("kind", BIASED)
def test_bitfit_with_norms(kind, tmp_path):
    base = state(kind)
    names = biases(base) + norms(base)
    found = compare(tmp_path, base, move(base, *names))
    assert found.verdict == "bitfit+norm"
    assert moved(found) == set(names)


@pytest.mark.parametrize("kind", BIASED)
def test_bitfit_with_a_bias_at_rest(kind, tmp_path):
    base = state(kind)
    names = biases(base)
    found = compare(tmp_path, base, move(base, *names[1:]))
    assert (found.verdict, found.summary.changed_biases) == ("bitfit", len(names) - 1)


@pytest.mark.parametrize("kind", BIASED)
def test_one_moved_matrix_is_named(kind, tmp_path):
    base = state(kind)
    planted = matrices(base)[-1]
    found = compare(tmp_path, base, move(base, *biases(base), planted))
    assert (found.verdict, found.summary.offenders) == ("bitfit", (planted,))


def test_a_tiny_change_of_one_matrix_element_is_an_offender(tmp_path):
    base = state("bert")
    tuned = move(base, *biases(base))
    name = "bert.encoder.layer.1.attention.self.query.weight"
    tuned[name][-1, -1] = torch.nextafter(tuned[name][-1, -1], torch.tensor(9.0))
    found = compare(tmp_path, base, tuned)
    assert found.summary.offenders == (name,)
    assert row(found, name).changed_fraction == 1 / base[name].numel()


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "vit"])
def test_head_only_changed(kind, tmp_path):
    base = state(kind)
    heads = [n for n in base if n.startswith("classifier")]
    found = compare(tmp_path, base, move(base, *heads))
    assert (found.verdict, found.summary.head) == ("head-only", "changed")
    assert moved(found) == set(heads)


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "vit"])
def test_head_only_of_another_size(kind, tmp_path):
    base = state(kind)
    tuned = copied(base)
    last = "classifier.out_proj" if kind == "roberta" else "classifier"
    tuned[f"{last}.weight"], tuned[f"{last}.bias"] = torch.randn(5, 32), torch.randn(5)
    found = compare(tmp_path, base, tuned)
    assert (found.verdict, found.summary.head) == ("head-only", "new")
    assert {item.why for item in found.unmatched_base + found.unmatched_tuned} == {"shape"}


@pytest.mark.parametrize("kind", ALL)
def test_full(kind, tmp_path):
    base = state(kind)
    found = compare(tmp_path, base, move(base, *base))
    assert (found.verdict, found.summary.offenders) == ("full", ())
    assert found.summary.changed_tensors == found.summary.compared_tensors == len(base)


@pytest.mark.parametrize("kind", ALL)
def test_full_in_bf16(kind, tmp_path):
    base = state(kind)
    assert compare(tmp_path, base, cast(move(base, *base, by=0.1), torch.bfloat16)).verdict == "full"


@pytest.mark.parametrize("kind", ["bert", "roberta", "gpt2", "opt"])
def test_full_with_a_table_without_gradient(kind, tmp_path):
    base = state(kind)
    table = next(n for n in base if "position" in n or "wpe" in n)
    assert compare(tmp_path, base, move(base, *(n for n in base if n != table))).verdict == "full"


@pytest.mark.parametrize("kind", ALL)
def test_every_matrix_trained_and_nothing_else_is_no_merged_lora(kind, tmp_path):
    base = state(kind)
    inner = [n for n in matrices(base) if "embed" not in n and not n.endswith(("wte.weight", "wpe.weight"))]
    assert compare(tmp_path, base, move(base, *inner)).verdict in ("full", "partial")


@pytest.mark.parametrize("kind", ALL)
def test_partial_when_one_layer_was_trained(kind, tmp_path):
    base = state(kind)
    names = [n for n in base if ".1." in n]
    found = compare(tmp_path, base, move(base, *names))
    assert found.verdict == "partial"
    assert moved(found) == set(names)


LORA = {
    "bert": ["query", "value"],
    "distilbert": ["q_lin", "v_lin"],
    "gpt2": ["c_attn"],
    "llama": ["q_proj", "v_proj"],
    "opt": ["q_proj", "k_proj", "v_proj", "out_proj"],
}


@pytest.mark.parametrize("kind", LORA)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_merged_lora(kind, dtype, tmp_path):
    from peft import LoraConfig, get_peft_model

    plain = model(kind).to(dtype)
    base = {n: t.clone() for n, t in plain.state_dict().items() if n in state(kind)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        settings = LoraConfig(r=2, lora_alpha=4, target_modules=LORA[kind], fan_in_fan_out=kind == "gpt2")
        adapted = get_peft_model(plain, settings)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.3 * torch.randn(parameter.shape))
    tuned = {n: t for n, t in adapted.merge_and_unload().state_dict().items() if n in base}
    found = compare(tmp_path, base, tuned)
    assert found.verdict == "merged-lora"
    assert all(any(f".{target}." in name for target in LORA[kind]) for name in moved(found))
    assert len(moved(found)) == 2 * len(LORA[kind])


def test_incomparable(tmp_path):
    """Only biases and norms of a narrower twin have a partner of their shape."""
    base = state("bert")
    tuned = {n: t[:, :7].contiguous() if t.ndim == 2 else t for n, t in base.items()}
    found = compare(tmp_path, base, tuned)
    assert found.verdict == "incomparable"
    assert {item.why for item in found.unmatched_base} == {"shape"}


MASK = "transformer.h.0.attn.bias"


def fresh(source, seed=5):
    """Another model of the same shape: matrices drawn anew, of the same spread."""
    random = torch.Generator().manual_seed(seed)
    drawn = {n: t.std() * torch.randn(t.shape, generator=random) for n, t in source.items() if t.ndim > 1}
    return copied(source) | drawn


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama"])
def test_another_model_of_one_shape_is_told_as_unrelated(kind, tmp_path):
    """Matrices of n elements that have nothing in common have a cosine of about 1 / √n."""
    base = state(kind)
    found = compare(tmp_path, base, fresh(base))
    assert found.summary.unrelated
    assert abs(found.summary.matrix_cosine) < 0.1
    assert headline(found).startswith("Unrelated: nothing of the base is left in the matrices (cosine ")
    assert "Full" not in headline(found)


@pytest.mark.parametrize("factor", [0.3, 3.0])
def test_what_decayed_or_grew_is_not_unrelated(factor, tmp_path):
    """T = c · b has the cosine 1 and the slope c."""
    base = state("bert")
    found = compare(tmp_path, base, {name: factor * tensor for name, tensor in base.items()})
    assert found.summary.base_left == pytest.approx(factor, rel=1e-5)
    assert found.summary.matrix_cosine == pytest.approx(1.0)
    assert not found.summary.unrelated


def test_training_that_blew_up_is_not_unrelated(tmp_path):
    """Noise of twice the spread: the slope stays 1, the cosine falls to 1 / √5."""
    base = state("bert")
    noise = fresh(base)
    tuned = {name: t + 2 * noise[name] if t.ndim > 1 else t for name, t in base.items()}
    found = compare(tmp_path, base, tuned)
    assert found.summary.matrix_cosine == pytest.approx(5**-0.5, abs=0.05)
    assert found.summary.base_left == pytest.approx(1.0, abs=0.15)
    assert not found.summary.unrelated


def test_biases_and_some_matrices_leave_the_base(tmp_path):
    base = state("bert")
    found = compare(tmp_path, base, move(base, *biases(base)))
    assert (found.summary.base_left, found.summary.matrix_cosine) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("ours", "theirs", "ratio", "words"),
    [
        (torch.bfloat16, torch.float32, 2.0, "bfloat16 → float32 in 39 tensors: twice the size"),
        (torch.float32, torch.float16, 0.5, "float32 → float16 in 39 tensors: half the size"),
        (torch.float16, torch.bfloat16, 1.0, "float16 → bfloat16 in 39 tensors: the same size"),
        (torch.float64, torch.float16, 0.25, "float64 → float16 in 39 tensors: a quarter of the size"),
        (torch.float16, torch.float64, 4.0, "float16 → float64 in 39 tensors: 4 times the size"),
    ],
)
def test_element_types_that_differ(ours, theirs, ratio, words, tmp_path):
    base = {n: t for n, t in state("bert").items() if not n.startswith("classifier")}
    assert len(base) == 39
    steps = base | {"steps": torch.arange(3)}
    found = compare(tmp_path, cast(steps, ours), cast(steps, theirs))
    (retyped,) = found.summary.retyped
    elements = sum(tensor.numel() for tensor in base.values())
    assert (retyped.size_ratio, retyped.parameters) == (ratio, elements)
    assert types_sentence(found.summary.retyped) == words
    assert compare(tmp_path, cast(base, ours), cast(base, ours)).summary.retyped == ()


def test_recurrent_biases_are_biases_and_counts_are_none(tmp_path):
    lstm = torch.nn.LSTM(6, 4, 2, bidirectional=True).state_dict()
    base = {f"rnn.{name}": tensor for name, tensor in lstm.items()}
    base |= {"out.weight": torch.randn(3, 8), "out.bias": torch.randn(3), "seen": torch.arange(4)}
    trained = [name for name in base if "bias" in name]
    assert len(trained) == 9
    found = compare(tmp_path, base, move(base, *trained) | {"seen": torch.arange(4) + 9})
    assert (found.verdict, found.summary.offenders) == ("bitfit", ())
    assert (found.summary.changed_biases, found.summary.biases) == (9, 9)
    assert row(found, "seen").info.kind == "buffer"


@pytest.mark.parametrize("side", [4, 6, 8, 16])
def test_small_matrices_that_moved_everywhere_are_no_merged_lora(side, tmp_path):
    base = {f"layers.{n}.weight": torch.randn(side, side) for n in range(3)}
    assert compare(tmp_path, base, move(base, *base)).verdict == "full"


def with_buffers(source, value):
    extra = {
        MASK: torch.full((1, 1, 8, 8), value),
        "transformer.h.0.attn.masked_bias": torch.tensor(-1e4 * value),
    }
    return source | extra


def test_buffers_do_not_alter_the_verdict(tmp_path):
    """GPT-2's h.N.attn.bias is a mask, and position_ids are no parameters."""
    base = state("gpt2")
    one, two = with_buffers(base, 1.0), with_buffers(base, 2.0)
    found = compare(tmp_path, one, two)
    assert found.verdict == "identical"
    assert row(found, MASK).info.kind == "buffer"
    assert row(found, MASK).moved is True
    trained = compare(tmp_path, one, with_buffers(move(base, *biases(base)), 2.0))
    assert (trained.verdict, trained.summary.offenders) == ("bitfit", ())
    assert trained.summary.biases == len(biases(base))


def test_a_dropped_buffer_does_not_alter_the_verdict(tmp_path):
    base = state("bert") | {"bert.embeddings.position_ids": torch.arange(24)[None]}
    found = compare(tmp_path, base, state("bert"))
    assert found.verdict == "identical"
    assert [item.name for item in found.unmatched_base] == ["bert.embeddings.position_ids"]


def test_minus_zero_is_no_cast_to_anything(tmp_path):
    base = state("bert")
    name = "bert.encoder.layer.0.attention.self.query.bias"
    base[name] = torch.zeros(32)
    found = compare(tmp_path, base, base | {name: -torch.zeros(32)})
    assert (found.verdict, found.summary.rounded_to) == ("rounding-only", None)


def test_nan_is_counted_and_did_move(tmp_path):
    base = state("bert")
    tuned = move(base, *biases(base))
    name = "bert.encoder.layer.0.output.dense.bias"
    tuned[name][3] = math.nan
    found = compare(tmp_path, base, tuned)
    assert (found.verdict, found.summary.nonfinite_tensors) == ("bitfit", 1)
    assert row(found, name).nonfinite_tuned == 1


def test_equal_nan_in_both_sides_is_identical(tmp_path):
    base = state("bert")
    base["bert.pooler.dense.bias"][0] = math.nan
    found = compare(tmp_path, base, base)
    assert (found.verdict, found.summary.nonfinite_tensors) == ("identical", 1)


def test_several_tuned(tmp_path):
    base = state("bert")
    found = diff_states(tmp_path, base, base, move(base, *biases(base)), move(base, *base))
    assert [item.verdict for item in found.comparisons] == ["identical", "bitfit", "full"]


# The realistic pairs that break the peers ----------------------------------------------------------


def test_bare_fp32_base_with_zero_biases_against_a_bf16_classifier(tmp_path):
    base = {n: torch.zeros_like(t) if n.endswith("bias") else t for n, t in state("bert-bare").items()}
    names = biases(base)
    trained = cast(move(base, *names, by=1e-3), torch.bfloat16)
    tuned = {f"bert.{n}": t for n, t in trained.items()}
    tuned |= {"classifier.weight": torch.randn(3, 32), "classifier.bias": torch.zeros(3)}
    found = compare(tmp_path, base, tuned)
    assert (found.verdict, found.summary.head) == ("bitfit", "new")
    assert moved(found) == set(names)
    for name in names:
        assert row(found, name).relative_l2 == pytest.approx(1.0, rel=1e-12)


def test_tensors_of_one_element_are_compared(tmp_path):
    base = state("bert") | {"bert.encoder.layer.0.gate.bias": torch.zeros(1), "bert.scale": torch.tensor(1.0)}
    tuned = base | {"bert.encoder.layer.0.gate.bias": torch.ones(1)}
    found = compare(tmp_path, base, tuned)
    assert moved(found) == {"bert.encoder.layer.0.gate.bias"}
    assert row(found, "bert.encoder.layer.0.gate.bias").mean_abs_delta == 1.0
    assert row(found, "bert.scale").identical is True


def test_layers_from_ten_on_are_themselves():
    """Names cut at a fixed depth, or compared as text, merge layer 1 with 10 and 11."""
    from bitfit_probe.architectures import recognise

    names = [f"bert.encoder.layer.{i}.output.dense.bias" for i in range(12)]
    known = recognise(names)
    assert [known.info(name, 1).layer for name in names] == list(range(12))


def test_layers_from_ten_on_have_their_own_figures(tmp_path):
    base = {f"bert.encoder.layer.{i}.output.dense.bias": torch.zeros(4) for i in range(12)}
    base |= {f"bert.encoder.layer.{i}.output.dense.weight": torch.ones(4, 4) for i in range(12)}
    tuned = copied(base)
    for i in (1, 10, 11):
        tuned[f"bert.encoder.layer.{i}.output.dense.bias"] += i
    found = compare(tmp_path, base, tuned)
    sizes = {role.layer: role.mean_abs_delta for role in found.roles}
    assert sizes == {i: float(i) if i in (1, 10, 11) else 0.0 for i in range(12)}
    assert sum(role.moved for role in found.roles) == 3


def test_one_moved_bias_marks_one_role_of_one_layer(tmp_path):
    base = state("bert")
    found = compare(tmp_path, base, move(base, "bert.encoder.layer.1.attention.self.value.bias"))
    assert found.summary.changed_biases == 1
    assert [(role.role, role.layer) for role in found.roles if role.moved] == [("v", 1)]


def test_role_figures_are_those_of_the_planted_change(tmp_path):
    base = state("bert")
    tuned = copied(base)
    tuned["bert.encoder.layer.0.attention.self.query.bias"] += 0.5
    found = compare(tmp_path, base, tuned)
    (role,) = (item for item in found.roles if item.moved)
    assert role.mean_abs_delta == pytest.approx(0.5, rel=1e-6)
    assert role.max_abs_delta == pytest.approx(0.5, rel=1e-6)


@pytest.mark.parametrize("scale", [1e200, math.inf, math.nan])
def test_a_matrix_whose_change_has_no_finite_square_is_no_merged_lora(scale, tmp_path):
    base = {"layer.0.q.weight": torch.ones(8, 8, dtype=torch.float64), "layer.0.q.bias": torch.ones(8)}
    tuned = base | {"layer.0.q.weight": base["layer.0.q.weight"] + scale}
    found = compare(tmp_path, base, tuned)
    assert found.verdict == "full", "a change of rank one, but its squares tell nothing"
