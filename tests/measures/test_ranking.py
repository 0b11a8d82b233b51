"""Rankings against the formulas in float64 numpy, for every architecture that the tests can build."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.builders import MODELS, biases, compare, copied, move, state, toy, write

from bitfit_probe.align import align
from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.comparison import compare as compare_checkpoints
from bitfit_probe.measures.ranking import rank


def _architectures():
    """The table of model classes that the architectures' tests are run on."""
    path = Path(__file__).parents[1] / "architectures" / "conftest.py"
    spec = importlib.util.spec_from_file_location("architectures_conftest", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


ARCHITECTURES = _architectures()
#: One row a family and shape of its layers; other task heads of the same settings add nothing here.
ROWS = {
    f"{row.model_type}-{index}": row
    for index, row in enumerate(ARCHITECTURES.ROWS)
    if (row.model_type, str(row.settings))
    not in {(other.model_type, str(other.settings)) for other in ARCHITECTURES.ROWS[:index]}
}
#: Families whose attention is softmax(q·k) with nothing that depends on the key besides: where the
#: exemption comes from, apart from the families' own tables. test_key_bias.py shows it by reverting.
CANCELS = {
    "albert", "bart", "bert", "bloom", "clip", "clip_text", "clip_vision", "dinov2", "distilbert", "electra",
    "gpt2", "gpt_neo", "mpnet", "opt", "roberta", "t5", "vit", "wav2vec2", "whisper", "xlnet",
}  # fmt: skip


@cache
def checkpoints(kind):
    """(config, base, tuned) of a tiny random model whose biases, norms' and heads' too, moved."""
    if kind in MODELS:
        base, config = state(kind), None
    else:
        stored = ARCHITECTURES.build(ROWS[kind].task, ROWS[kind].settings)
        draw = torch.Generator().manual_seed(1)
        base = {
            name: torch.randn(tensor.shape, generator=draw)
            for name, tensor in stored.state_dict().items()
            if tensor.is_floating_point()
        }
        config = stored.config.to_dict()
    moving = [name for name in base if name.endswith("bias")]
    return config, base, move(base, *moving, by=0.3)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Give comparison, tensors by row label: (base, tuned) flat in float64."""
    made = {}

    def get(kind):
        if kind not in made:
            folder = tmp_path_factory.mktemp("pair")
            config, base, tuned = checkpoints(kind)
            paths = [write(folder / side, tensors) for side, tensors in (("b", base), ("t", tuned))]
            for path in paths if config else ():
                (path / "config.json").write_text(json.dumps(config, default=str))
            ours, theirs = (open_checkpoint(path) for path in paths)
            made[kind] = compare_checkpoints(ours, theirs)[0], align(ours, theirs)
        return made[kind]

    return get


def vectors(compared):
    """(row, b, t) of each bias: cut by the alignment, read from the state dicts' own values."""
    comparison, alignment = compared
    for row, pair in zip(comparison.tensors, alignment.pairs, strict=True):
        if row.info.kind == "bias":
            yield row, pair.base.values().reshape(-1), pair.tuned.values().reshape(-1)


def group_key(row, by):
    info = row.info
    role = info.role or "other"
    return {
        "role": (info.stack, role, None),
        "role-layer": (info.stack, role, info.layer),
        "tensor": (row.name, row.part),
    }[by]


def formulas(b, t):
    """The documented formulas, word by word."""
    d, nb, nt = t - b, math.hypot(*b), math.hypot(*t)  # squares of 1e-165 would be none
    scale = max(nb, nt)
    return {
        "mean_abs_delta": np.abs(d).mean(),
        "relative_l2": np.linalg.norm(d) / scale if scale else 0.0,
        "beft": 1 - t @ b / scale**2 if scale else 0.0,
        "cosine": (t / nt) @ (b / nb) if nb and nt else None,
        "mean_shift": d.mean(),
        "above_rounding": (d != 0).mean(),
    }


def check(row, b, t):
    for name, expected in formulas(b, t).items():
        got = getattr(row, name)
        if expected is None:
            assert got is None, name
        else:
            assert got == pytest.approx(expected, rel=1e-9, abs=1e-12), name


ALL = [*MODELS, *ROWS]


@pytest.mark.parametrize("kind", ALL)
def test_every_measure_is_its_formula(kind, compared):
    found = list(vectors(compared(kind)))
    comparison = compared(kind)[0]
    for by in ("role", "role-layer", "tensor"):
        groups = {}
        for row, b, t in found:
            groups.setdefault(group_key(row, by), []).append((b, t))
        rows = rank(comparison, by).rows
        assert len(rows) == len(groups)
        for row in rows:
            group = row.group
            key = (group.stack, group.role, group.layer)
            if by == "tensor":
                name, _, part = group.names[0].partition("[")
                key = (name, part.removesuffix("]") or None)
            b, t = (np.concatenate(side) for side in zip(*groups[key], strict=True))
            assert group.elements == len(b)
            check(row, b, t)


@pytest.mark.parametrize("kind", ALL)
def test_the_order_is_by_size_with_what_has_no_effect_last(kind, compared):
    for by in ("role", "layer", "role-layer", "tensor"):
        rows = rank(compared(kind)[0], by).rows
        order = [(row.group.no_effect, -row.mean_abs_delta) for row in rows]
        assert order == sorted(order)


@pytest.mark.parametrize("kind", ROWS)
def test_the_exemption_of_the_key_follows_the_architecture(kind, compared):
    row = ROWS[kind]
    comparison = compared(kind)[0]
    exempt = {r.group.role for r in rank(comparison, "role").rows if r.group.no_effect}
    has = {r.info.role for r in comparison.tensors if r.info.kind == "bias"} & {"k", "xk"}
    # Falcon's positions are rotary, which the key bias survives, or ALiBi, which it does not.
    cancels = row.family in CANCELS or bool(row.settings.get("alibi"))
    assert exempt == (has if cancels else set())
    # Layer by layer they are apart too, and nothing else is lost.
    layers = rank(comparison, "layer").rows
    assert {r.group.role for r in layers if r.group.no_effect} == exempt
    total = sum(r.parameters for r in comparison.tensors if r.info.kind == "bias")
    assert sum(r.group.elements for r in layers) == total


def test_layers_hold_what_is_not_cancelled(compared):
    comparison = compared("bert")[0]
    for layer in (0, 1):
        parts = [
            (b, t)
            for row, b, t in vectors(compared("bert"))
            if row.info.layer == layer and row.info.role != "k"
        ]
        (found,) = (r for r in rank(comparison, "layer").rows if r.group.layer == layer)
        check(found, *(np.concatenate(side) for side in zip(*parts, strict=True)))
    (outside,) = (r for r in rank(comparison, "layer").rows if r.group.role == "outside")
    assert outside.group.names == ("bert.embeddings.LayerNorm.bias", "bert.pooler.dense.bias")


def test_the_papers_table(tmp_path):
    """Planted sizes: rows by their total over layers, mean|Δb| their average, inside layers only."""
    base = state("bert")
    tuned = copied(base)
    sizes = {"query": (0.5, 0.1), "key": (0.2, 0.3), "value": (0.1, 0.1), "intermediate": (0.4, 0.4)}
    for part, planted in sizes.items():
        for layer, size in enumerate(planted):
            where = "intermediate" if part == "intermediate" else f"attention.self.{part}"
            where += ".dense" if part == "intermediate" else ""
            tuned[f"bert.encoder.layer.{layer}.{where}.bias"] += size
    for outside in ("bert.embeddings.LayerNorm.bias", "bert.pooler.dense.bias", "classifier.bias"):
        tuned[outside] += 9
    ranking = rank(compare(tmp_path, base, tuned), "role", paper=True)
    assert [row.group.role for row in ranking.rows][:4] == ["m2", "q", "k", "v"]
    assert [row.mean_abs_delta for row in ranking.rows][:4] == pytest.approx([0.4, 0.3, 0.25, 0.1], rel=1e-5)
    assert {row.group.role for row in ranking.rows} == {"q", "k", "v", "m1", "LN1", "m2", "m3", "LN2"}
    assert ranking.paper


def test_the_papers_average_weighs_tensors_and_the_other_weighs_elements(tmp_path):
    base = toy(
        encoder__layer__0__output__dense__bias=np.zeros(2, np.float32),
        encoder__layer__1__output__dense__bias=np.zeros(6, np.float32),
    )
    first, second = base
    tuned = {first: base[first] + 1, second: base[second] + 3}
    comparison = compare(tmp_path, base, tuned)
    assert rank(comparison, "role", paper=True).rows[0].mean_abs_delta == 2.0
    assert rank(comparison, "role").rows[0].mean_abs_delta == (2 * 1 + 6 * 3) / 8


FLOATS = st.floats(-1e3, 1e3, allow_subnormal=False)
SIDES = st.integers(1, 40).flatmap(lambda n: st.tuples(*[hnp.arrays(np.float64, n, elements=FLOATS)] * 2))


@settings(max_examples=60, deadline=None)
@given(sides=SIDES)
def test_any_two_vectors(sides, tmp_path_factory):
    b, t = sides
    base, tuned = ({"encoder.layer.0.output.dense.bias": torch.from_numpy(x.copy())} for x in (b, t))
    (row,) = rank(compare(tmp_path_factory.mktemp("any"), base, tuned), "tensor").rows
    scale = max(math.hypot(*b), math.hypot(*t))
    assert 0 <= row.relative_l2 <= 2 + 1e-12
    assert -1e-12 <= row.beft <= 2 + 1e-12
    if scale > 1e-100:
        check(row, b, t)


@pytest.mark.parametrize(
    ("b", "t", "relative", "beft", "cosine"),
    [
        ([0, 0], [0, 0], 0, 0, None),  # 0/0
        ([0, 0], [3, 4], 1, 1, None),  # from nothing
        ([3, 4], [0, 0], 1, 1, None),
        ([3, 4], [3, 4], 0, 0, 1),
        ([3, 4], [-3, -4], 2, 2, -1),
        ([3, 4], [4, -3], math.sqrt(2), 1, 0),
        ([3, 4], [6, 8], 0.5, 0.5, 1),
        ([6, 8], [3, 4], 0.5, 0.5, 1),
    ],
)
def test_known_directions(b, t, relative, beft, cosine, tmp_path):
    base, tuned = (toy(encoder__layer__0__output__dense__bias=np.array(x, np.float32)) for x in (b, t))
    (row,) = rank(compare(tmp_path, base, tuned), "tensor").rows
    assert (row.relative_l2, row.beft) == pytest.approx((relative, beft), abs=1e-15)
    assert row.cosine == (None if cosine is None else pytest.approx(cosine, abs=1e-15))


@pytest.mark.parametrize("size", [5e-324, 1e-150, 1e150])
def test_sizes_at_the_ends_of_float64(size, tmp_path):
    """Sums of squares of these reach float64's range, or fall below it."""
    name = "encoder.layer.0.output.dense.bias"
    base = {name: torch.tensor([size, 0.0], dtype=torch.float64)}
    tuned = {name: torch.tensor([0.0, 0.0], dtype=torch.float64)}
    comparison = compare(tmp_path, base, tuned)
    (row,) = rank(comparison, "role").rows
    assert row.mean_abs_delta == comparison.tensors[0].mean_abs_delta
    assert row.relative_l2 in (comparison.tensors[0].relative_l2, 1.0)


def test_bytes_that_are_equal_have_figures_too(tmp_path):
    base = state("bert")
    tuned = move(base, "bert.encoder.layer.0.attention.self.query.bias")
    rows = {row.group.label: row for row in rank(compare(tmp_path, base, tuned), "role-layer").rows}
    still = rows["q 1"]
    assert (still.mean_abs_delta, still.relative_l2, still.beft, still.cosine) == (0, 0, 0, 1)
    assert still.noise_floor
    assert not rows["q 0"].noise_floor


def test_a_norm_that_was_not_computed_is_not_made_up(tmp_path):
    """Equal by checksum: the change is 0, the norms are unknown."""
    base = state("bert")
    comparison = compare(tmp_path, base, move(base, *biases(base)))
    rows = tuple(
        replace(row, base_l2=None, tuned_l2=None) if row.name.endswith("0.output.dense.bias") else row
        for row in comparison.tensors
    )
    found = {row.group.role: row for row in rank(replace(comparison, tensors=rows), "role").rows}
    assert found["m3"].relative_l2 is found["m3"].beft is found["m3"].cosine is None
    assert found["m3"].mean_abs_delta > 0
    assert found["m2"].beft > 0


def test_nonfinite_elements_are_left_out(tmp_path):
    name = "encoder.layer.0.output.dense.bias"
    base = {name: torch.tensor([1.0, 2.0, math.nan, 4.0], dtype=torch.float64)}
    tuned = {name: torch.tensor([2.0, math.inf, 3.0, 7.0], dtype=torch.float64)}
    (row,) = rank(compare(tmp_path, base, tuned), "role").rows
    assert row.mean_abs_delta == 2.0
    assert row.mean_shift == 2.0


def test_ties_are_those_within_rounding(tmp_path):
    base = toy(
        encoder__layer__0__output__dense__bias=np.full(8, 1.0, np.float32),
        encoder__layer__1__output__dense__bias=np.full(8, 1.0, np.float32),
        encoder__layer__2__output__dense__bias=np.full(8, 1.0, np.float32),
    )
    one, two, three = base
    tuned = {one: base[one] + 0.5, two: base[two] + 0.5 + 1e-7, three: base[three] + 0.25}
    rows = rank(compare(tmp_path, base, tuned), "tensor").rows
    assert [row.tied for row in rows] == [True, False, False]


def test_a_cast_is_the_noise_floor(tmp_path):
    """One bias trained, the rest only rounded to bfloat16."""
    base = state("bert")
    trained = "bert.encoder.layer.1.intermediate.dense.bias"
    tuned = {name: tensor.bfloat16() for name, tensor in move(base, trained, by=0.5).items()}
    rows = rank(compare(tmp_path, base, tuned), "tensor").rows
    assert rows[0].group.names == (trained,)
    assert [row.noise_floor for row in rows] == [False] + [True] * (len(rows) - 1)
    assert all(row.mean_abs_delta > 0 for row in rows)


def test_fisher_weighs_elements_and_is_missing_where_one_is(tmp_path):
    base = state("bert")
    comparison = compare(tmp_path, base, move(base, *biases(base)))
    query = [f"bert.encoder.layer.{layer}.attention.self.query.bias" for layer in (0, 1)]
    given = {query[0]: 1.0, query[1]: 3.0, "bert.encoder.layer.0.output.dense.bias": 5.0}
    found = {row.group.role: row.fisher for row in rank(comparison, "role", fisher=given).rows}
    assert found["q"] == 2.0
    assert found["m3"] is None


def test_an_unknown_grouping_is_refused(compared):
    with pytest.raises(ValueError, match="role-layer"):
        rank(compared("bert")[0], "roles")


def test_the_head_is_never_ranked(tmp_path):
    base = state("bert")
    comparison = compare(tmp_path, base, move(base, "classifier.bias", *biases(base)))
    names = {name for row in rank(comparison, "tensor").rows for name in row.group.names}
    assert names == set(biases(base))


def test_the_frame_has_a_row_a_group(tmp_path):
    base = state("bert")
    ranking = rank(compare(tmp_path, base, move(base, *biases(base))), "role")
    frame = ranking.frame()
    assert list(frame["label"]) == [row.group.label for row in ranking.rows]
    assert list(frame["beft"]) == [row.beft for row in ranking.rows]
    assert frame.loc[frame["role"] == "k", "no_effect"].all()


class TestTies:
    """Neighbours within what rounding can add are tied, but not across what sets them apart."""

    @staticmethod
    def ranking(*, second_role="v", second_above=1.0, floor=1e-3, cancels=True):
        from bitfit_probe.records import TensorDelta, TensorInfo

        base = compare_to_itself()
        rows = [
            TensorDelta(
                f"{role}.bias", f"{role}.bias", None, TensorInfo(role, 0, None, "bias"), (4,), "float32",
                "float32", identical=False, judged_by="compared", mean_abs_delta=size, l1_delta=4 * size,
                l2_delta=2 * size, max_abs_delta=size, relative_l2=0.5, cosine=1.0, rounding_floor=floor,
                above_rounding=above, base_l2=1.0, tuned_l2=1.0, nonfinite_base=0, nonfinite_tuned=0,
            )
            for role, size, above in (("q", 1.001, 1.0), (second_role, 1.0, second_above))
        ]  # fmt: skip
        return rank(replace(base, tensors=tuple(rows), key_bias_cancels=cancels), "role").rows

    def test_within_both_floors(self):
        # Floors of ‖·‖ 1e-3 over four elements: each mean may be off by 5e-4, both together by 1e-3.
        assert [row.tied for row in self.ranking()] == [True, False]
        assert [row.tied for row in self.ranking(floor=0.9e-3)] == [False, False]

    def test_not_with_a_key_bias_that_softmax_cancels(self):
        rows = self.ranking(second_role="k")
        assert [row.group.no_effect for row in rows] == [False, True]
        assert not rows[0].tied

    def test_not_with_one_that_moved_by_rounding_only(self):
        rows = self.ranking(second_above=0.0)
        assert [row.noise_floor for row in rows] == [False, True]
        assert not rows[0].tied


def compare_to_itself():
    """A comparison to hang rows on."""
    import bitfit_probe as bp
    from bitfit_probe import sample

    return bp.diff(sample.base_path(), sample.base_path()).comparisons[0]
