"""Each form planted in three architectures and as many element types, and recovered with its figures."""

from __future__ import annotations

import math

import pytest
import torch
from support.forms import HEADS, SQUARE, WIDTH, bed, by_name, changed, forms, trained

BEDS = ("bert", "gpt2", "llama")
TYPES = {
    "float32": (torch.float32, torch.float32),
    "bfloat16": (torch.bfloat16, torch.bfloat16),
    "float16": (torch.float16, torch.float16),
    "float32 to bfloat16": (torch.float32, torch.bfloat16),
    "bfloat16 in float32": (torch.bfloat16, torch.float32),
}


def draw(*shape, seed=2):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def order(count, seed=2):
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def some_rows(b):
    t = b.clone()
    t[[3, 40, 41]] += 0.05 * draw(3, b.shape[1])
    return t


def some_columns(b):
    return some_rows(b.T.contiguous()).T


def a_third(b):
    t = b.clone()
    t[: len(b) * 2 // 3] = trained(t[: len(b) * 2 // 3], by=0.01)
    return t


def two_elements(b):
    t = b.clone()
    t[0, 5], t[9, 3] = 3.0, -3.0
    return t


def pruned(b):
    """The smallest quarter set to zero."""
    return torch.where(b.abs() < b.abs().float().quantile(0.25), 0.0, b)


TURNED = draw(WIDTH, WIDTH, seed=6) > 0.5


def without_rows(b):
    """A fifth of the rows cut from a trained matrix."""
    t = trained(b, by=0.01)
    t[::5] = 0
    return t


def without_elements(b):
    """Half of a trained matrix dropped at random."""
    return torch.where(draw(*b.shape, seed=7) > 0, 0.0, trained(b, by=0.01))


DROPPED = float((draw(WIDTH, WIDTH, seed=7) > 0).float().mean())


def some_signs(b):
    return torch.where(TURNED, -b, b)


def four_bits(b):
    pieces = b.reshape(-1, 32)
    step = pieces.abs().amax(1, keepdim=True) / 7
    return ((pieces / step).round() * step).reshape(b.shape)


def rotary_halves(b):
    """The order of rows that converters give to queries and keys."""
    return b.view(HEADS, WIDTH // HEADS // 2, 2, WIDTH).transpose(1, 2).reshape(WIDTH, WIDTH)


#: Form, its change, and its figures; a figure is the planted one within one part in a thousand.
PLANTS = {
    "factor": ("constant factor", lambda b: 0.97 * b, {"factor": 0.97}),
    "decay": ("constant factor", lambda b: 0.994 * b, {"factor": 0.994}),
    "doubled": ("constant factor", lambda b: 2 * b, {"factor": 2.0}),
    "negated": ("constant factor", lambda b: -b, {"factor": -1.0}),
    "shift": ("constant shift", lambda b: b + 0.002, {"shift": 0.002}),
    "zeros": ("constant value", torch.zeros_like, {"value": 0.0}),
    "ones": ("constant value", torch.ones_like, {"value": 1.0}),
    "clipped": ("clipped", lambda b: b.clamp(-0.03125, 0.03125), {"low": -0.03125, "high": 0.03125}),
    "pruned": ("pruned", pruned, {}),
    "rows cut, and trained": ("zeroed", without_rows, {"share": 13 / WIDTH, "lines": "rows"}),
    "half dropped, and trained": ("zeroed", without_elements, {"share": DROPPED, "lines": "elements"}),
    "eight times, and trained": ("constant factor", lambda b: 8 * trained(b, by=4e-3), {}),
    "eight times, and hardly trained": ("constant factor", lambda b: 8 * trained(b), {}),
    "some signs": ("signs", some_signs, {"count": int(TURNED.sum())}),
    "transposed": ("transposed", lambda b: b.T, {}),
    "transposed, then trained": ("transposed", lambda b: trained(b.T), {}),
    "rows": ("permuted", lambda b: b[order(WIDTH)], {"axis": "rows", "of": WIDTH}),
    "columns": ("permuted", lambda b: b[:, order(WIDTH)], {"axis": "columns"}),
    "rows, then trained": ("permuted", lambda b: trained(b[order(WIDTH)]), {"axis": "rows"}),
    "columns, then trained": ("permuted", lambda b: trained(b[:, order(WIDTH)]), {"axis": "columns"}),
    "heads": (
        "permuted",
        lambda b: b.view(HEADS, -1, WIDTH)[[1, 0, 3, 2]].reshape(b.shape),
        {"axis": "rows", "block": WIDTH // HEADS},
    ),
    "rotary halves": ("permuted", rotary_halves, {"axis": "rows", "block": 1}),
    "down by one": ("permuted", lambda b: b.roll(1, 0), {"axis": "rows", "by": 1}),
    "two elements": ("few elements", two_elements, {"count": 2, "places": ((0, 5), (9, 3))}),
    "some rows": ("few rows", some_rows, {"count": 3, "ranges": ((3, 4), (40, 42))}),
    "some columns": ("few columns", some_columns, {"count": 3, "ranges": ((3, 4), (40, 42))}),
    "two thirds": ("some rows", a_third, {"ranges": ((0, WIDTH * 2 // 3),)}),
    "a factor a row": ("scaled rows", lambda b: b * (1 + 0.2 * draw(WIDTH, 1)), {}),
    "a factor a column": ("scaled columns", lambda b: b * (1 + 0.2 * draw(1, WIDTH)), {}),
    "four bits": ("coarse grid", four_bits, {"unit": 32}),
    "rank 1": ("rank", lambda b: b + 0.02 * draw(WIDTH, 1) @ draw(1, WIDTH, seed=3), {"rank": 1}),
    "rank 4": ("rank", lambda b: b + 0.02 * draw(WIDTH, 4) @ draw(4, WIDTH, seed=3), {"rank": 4}),
    "rank 8": ("rank", lambda b: b + 0.02 * draw(WIDTH, 8) @ draw(8, WIDTH, seed=3), {"rank": 8}),
    "redrawn": ("redrawn", lambda b: 0.02 * draw(WIDTH, WIDTH), {"initialisation": "a normal of 0.02"}),
    "another model's": ("unrelated", lambda b: 0.03 * draw(WIDTH, WIDTH), {}),
    "trained": ("trained", trained, {}),
    "hardly trained": ("trained", lambda b: trained(b, by=1e-4), {}),
    "trained far": ("trained", lambda b: trained(b, by=0.02), {}),
}
#: What rounding to one type makes of the plant: a step of bfloat16 is larger than the change.
ROUNDED_AWAY = 3e-3


@pytest.mark.parametrize("types", TYPES)
@pytest.mark.parametrize("kind", BEDS)
@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_form_is_recovered(tmp_path, plant, kind, types):
    name, change, figures = PLANTS[plant]
    before, after = TYPES[types]
    base = bed(kind, before)
    planted = changed(base, {SQUARE[kind]: change}, before if types == "bfloat16 in float32" else None)
    tuned = {key: tensor.to(after) for key, tensor in planted.items()}
    form = by_name(tmp_path, base, tuned)[SQUARE[kind]]

    assert form.name == name
    for key, value in figures.items():
        wanted = pytest.approx(value, rel=ROUNDED_AWAY) if isinstance(value, float) else value
        assert form.parameters[key] == wanted, key


@pytest.mark.parametrize("kind", BEDS)
def test_a_tensor_in_another_one_s_place_is_named(tmp_path, kind):
    """Two layers that changed places, and were trained on."""
    base = bed(kind)
    other = SQUARE[kind].replace(".1.", ".3.")
    tuned = changed(
        base, {SQUARE[kind]: lambda _: trained(base[other]), other: lambda _: trained(base[SQUARE[kind]])}
    )
    found = by_name(tmp_path, base, tuned)
    assert found[SQUARE[kind]].parameters["tensor"] == other
    assert found[other].parameters["tensor"] == SQUARE[kind]


def test_norm_scales_in_each_other_s_place_are_named(tmp_path):
    """Their values have a mean, so that even the wrong one has a cosine near 1: siblings tell."""
    base = bed("bert")
    one, two = (f"encoder.layer.{layer}.output.LayerNorm.weight" for layer in (0, 2))
    base = changed(
        base, {name: lambda b, n=name: 1 + 0.2 * draw(WIDTH, seed=len(n) + int(n[14])) for name in (one, two)}
    )
    found = by_name(tmp_path, base, changed(base, {one: lambda _: base[two], two: lambda _: base[one]}))
    assert (found[one].parameters["tensor"], found[two].parameters["tensor"]) == (two, one)


@pytest.mark.parametrize("weight", [0.1, 0.5, 0.9])
def test_an_average_with_another_checkpoint(tmp_path, weight):
    base = bed("bert")
    live = changed(base, dict.fromkeys(base, lambda b: trained(b, by=0.01)))
    average = {name: (1 - weight) * base[name] + weight * live[name] for name in base}
    (group,) = forms(tmp_path, base, average, live).groups
    assert group.form.name == "blend"
    assert group.form.parameters["weight"] == pytest.approx(weight, rel=1e-3)


def test_without_the_other_checkpoint_an_average_is_a_trained_one(tmp_path):
    base = bed("bert")
    found = by_name(tmp_path, base, changed(base, dict.fromkeys(base, trained)))
    assert {form.name for form in found.values()} == {"trained"}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_what_a_cast_did_is_rounding(tmp_path, dtype):
    base = bed("bert")
    (group,) = forms(tmp_path, base, changed(base, {}, dtype)).groups
    assert (group.form.name, group.form.parameters["type"]) == ("rounding", str(dtype).removeprefix("torch."))


def test_what_rests_costs_nothing_to_say(tmp_path):
    base = bed("bert")
    (group,) = forms(tmp_path, base, base).groups
    assert (group.form.name, group.form.cost, len(group.tensors)) == ("at rest", 0, len(base))


def test_a_high_rank_shows_in_a_large_matrix(tmp_path):
    """Rank 64 in 512 × 512: more than the small sample can show."""
    base = {f"encoder.layer.{n}.attention.self.query.weight": 0.02 * draw(512, 512, seed=n) for n in range(4)}
    change = lambda b: b + 0.01 * draw(512, 64) @ draw(64, 512, seed=9)  # noqa: E731
    (group,) = forms(tmp_path, base, changed(base, dict.fromkeys(base, change))).groups
    assert (group.form.name, group.form.parameters["rank"], len(group.tensors)) == ("rank", 64, 4)


def test_rows_of_a_long_table_that_moved_by_one(tmp_path):
    """A vocabulary with one token more at its start, over more rows than are all looked for."""
    table = 0.02 * draw(9000, 32)
    base = {"embeddings.word_embeddings.weight": table}
    tuned = {
        "embeddings.word_embeddings.weight": torch.cat([0.02 * draw(1, 32, seed=8), trained(table[:-1])])
    }
    form = by_name(tmp_path, base, tuned)["embeddings.word_embeddings.weight"]
    assert (form.name, form.parameters["by"]) == ("permuted", 1)


def test_values_that_are_none_are_not_told(tmp_path):
    base = bed("bert")
    tuned = changed(base, {SQUARE["bert"]: lambda b: torch.full_like(b, math.nan)})
    assert SQUARE["bert"] not in by_name(tmp_path, base, tuned)


def test_a_patch_of_nan_is_told_from_what_training_left_of_one(tmp_path):
    base = bed("bert")

    def patch(b):
        out = b.clone()
        out[2:4, 5:9] = math.nan
        return out

    name = SQUARE["bert"]
    form = by_name(tmp_path, base, changed(base, {name: patch}))[name]
    assert (form.name, form.parameters["count"]) == ("not finite", 8)
    assert name not in by_name(tmp_path, base, changed(base, {name: lambda b: trained(patch(b))}))


def test_the_search_for_another_tensor_tries_few(tmp_path, monkeypatch):
    """60 matrices in another order: of each a few candidates are tried, not 60 times 60."""
    from bitfit_probe.forms.kinds import other_tensor

    count, tried = 60, []
    base = {f"encoder.layer.{at}.output.dense.weight": draw(32, 32, seed=at) for at in range(count)}
    names = list(base)
    tuned = {name: base[names[(at + 7) % count]] for at, name in enumerate(names)}
    left = other_tensor._left
    monkeypatch.setattr(other_tensor, "_left", lambda *pair: tried.append(1) or left(*pair))
    found = by_name(tmp_path, base, tuned)
    assert [found[name].parameters["tensor"] for name in names] == [
        names[(at + 7) % count] for at in range(count)
    ]
    assert len(tried) <= 3 * count


def test_tensors_that_share_a_form_are_one_group(tmp_path):
    """Twelve attention matrices were multiplied; what else moved was trained."""
    base = bed("bert")
    scaled = [name for name in base if ".attention.self." in name and name.endswith(".weight")]
    biases = [name for name in base if name.endswith(".bias")]
    changes = dict.fromkeys(scaled, lambda b: 0.994 * b) | dict.fromkeys(biases, trained)
    groups = forms(tmp_path, base, changed(base, changes)).groups
    assert [group.form.name for group in groups] == ["constant factor", "trained", "at rest"]
    assert groups[0].subject == "12 matrices (k, q, v)"
    assert groups[0].form.says == "0.9940 × the base, nothing else"
    assert set(groups[0].tensors) == set(scaled)
    assert set(groups[1].tensors) == set(biases)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("spread", [0.002, 0.01])
def test_norm_scales_that_drift_together_are_trained(tmp_path, dtype, spread):
    """As the last one of a real run: 0.125 higher, give or take a little."""
    name = "encoder.layer.3.output.LayerNorm.weight"
    base = bed("bert", dtype)
    drift = 0.125 + spread * draw(WIDTH)
    assert by_name(tmp_path, base, changed(base, {name: lambda b: b + drift}))[name].name == "trained"


def images(**filters):
    """A stem with planes of three colours and a later convolution, beside a matrix."""
    return {"stem.conv.weight": draw(24, 3, 5, 5), "block.conv.weight": draw(16, 24, 3, 3, seed=5), **filters}


@pytest.mark.parametrize("by", [0.0, 0.3])
def test_input_channels_in_reverse_are_named(tmp_path, by):
    """Channels that have much of their filters in common, as those of images do, and a run after it."""
    stem = draw(24, 1, 5, 5) + 0.7 * draw(24, 3, 5, 5, seed=3)
    base = images(**{"stem.conv.weight": stem})
    tuned = {
        "stem.conv.weight": trained(stem.flip(1), by=by),
        "block.conv.weight": trained(base["block.conv.weight"], by=0.1),
    }
    found = by_name(tmp_path, base, tuned)
    assert found["stem.conv.weight"].parameters == {"axis": "input channels", "block": 1, "moved": 2, "of": 3}
    assert found["block.conv.weight"].name == "trained"


def test_trained_convolutions_are_no_reordered_ones(tmp_path):
    base = images()
    tuned = {name: trained(tensor, by=1.5) for name, tensor in base.items()}
    assert {form.name for form in by_name(tmp_path, base, tuned).values()} == {"trained"}


def test_a_quantiser_s_zeros_are_not_cut_ones(tmp_path):
    """A grid trained on by less than a step leaves no zeros; one whose zeros stay took the smallest."""
    base = bed("llama")
    small = lambda b: torch.where(b.abs() < b.abs().quantile(0.2), 0.0, trained(b))  # noqa: E731
    assert by_name(tmp_path, base, changed(base, {SQUARE["llama"]: small}))[SQUARE["llama"]].name == "trained"


def test_matrices_that_all_shrank_alike_are_no_multiple(tmp_path):
    """Decay takes all of them along."""
    base = bed("bert")
    tuned = {name: trained(0.4 * b, by=0.002) if b.ndim == 2 else b for name, b in base.items()}
    assert by_name(tmp_path, base, tuned)[SQUARE["bert"]].name == "trained"
