"""The verdict's limits, on rows made by hand: just inside, just outside, and which side counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bitfit_probe.comparison.verdict import head_state, judge, summarise
from bitfit_probe.records import TensorDelta, TensorInfo, Unmatched


def info(kind: str) -> TensorInfo:
    return TensorInfo(None, None, None, kind)


def rest(name: str, kind: str, size: int = 1) -> TensorDelta:
    """A tensor whose bytes are equal."""
    return TensorDelta(name, name, None, info(kind), (size,), "float32", "float32", True, "compared")


def moved(name: str, kind: str, size: int = 1) -> TensorDelta:
    return replace(rest(name, kind, size), identical=False, above_rounding=1.0)


def left(size: int, kind: str = "weight", why: str = "absent") -> Unmatched:
    return Unmatched("left", (size,), info(kind), why)


def verdict(rows, base=(), tuned=(), *, low_rank=False):
    return judge(rows, base, tuned, lambda: low_rank)


class TestEnough:
    """Half of the smaller side's parameters must have been compared."""

    def test_half_is_enough_and_less_is_not(self):
        assert verdict([rest("w", "weight", 10)], [left(10)], [left(10)])[0] == "identical"
        assert verdict([rest("w", "weight", 10)], [left(11)], [left(11)])[0] == "incomparable"

    @pytest.mark.parametrize(("base", "tuned"), [((), 90), (90, ()), (5, 90), (90, 5)])
    def test_the_side_with_less_left_over_counts(self, base, tuned):
        sides = [[left(side)] if side else [] for side in (base, tuned)]
        assert verdict([rest("w", "weight", 10)], *sides)[0] == "identical"

    def test_heads_and_buffers_are_left_over_without_harm(self):
        for kind in ("head", "buffer"):
            assert verdict([rest("w", "weight")], [left(99, kind)], [left(99, kind)])[0] != "incomparable"

    def test_nothing_compared_is_incomparable(self):
        assert verdict([rest("h", "head", 10)])[0] == "incomparable"


class TestOffenders:
    """BitFit explains a run in which at most 5 % of the resting tensors, or one, moved."""

    def rows(self, resting, offending, biases=10, trained=10):
        return [
            *(moved(f"b{n}", "bias") for n in range(trained)),
            *(rest(f"rb{n}", "bias") for n in range(biases - trained)),
            *(moved(f"o{n}", "weight") for n in range(offending)),
            *(rest(f"w{n}", "weight") for n in range(resting)),
        ]

    def test_five_percent_offend_and_more_is_another_method(self):
        assert verdict(self.rows(38, 2)) == ("bitfit", ("o0", "o1"))
        assert verdict(self.rows(37, 3))[0] == "partial"

    def test_one_offender_may_be_more_than_five_percent(self):
        assert verdict(self.rows(2, 1)) == ("bitfit", ("o0",))

    def test_half_of_the_biases_must_have_moved_beside_an_offender(self):
        assert verdict(self.rows(19, 1, trained=5))[0] == "bitfit"
        assert verdict(self.rows(19, 1, trained=4))[0] == "partial"

    def test_norm_scales_beside_biases_are_a_variant(self):
        rows = [*self.rows(20, 0), *(moved(f"n{n}", "norm") for n in range(4))]
        assert verdict(rows) == ("bitfit+norm", ())


class TestMatrices:
    def test_nearly_all_matrices_make_it_full(self):
        matrices = [moved(f"m{n}", "weight") for n in range(19)]
        assert verdict([*matrices, rest("x", "weight")])[0] == "full"
        assert verdict([*matrices[:18], rest("x", "weight"), rest("y", "weight")])[0] == "partial"

    def test_only_matrices_of_low_rank_are_a_merge(self):
        matrices = [moved("m", "weight"), rest("b", "bias")]
        assert verdict(matrices, low_rank=True)[0] == "merged-lora"
        assert verdict([*matrices, moved("n", "norm")], low_rank=True)[0] != "merged-lora"


class TestHead:
    @pytest.mark.parametrize(
        ("why", "state"), [("absent", "new"), ("shape", "new"), ("rows", "none"), ("tied", "none")]
    )
    def test_of_the_tuned_side_alone(self, why, state):
        assert head_state([], [], [left(3, "head", why)]) == state

    @pytest.mark.parametrize(
        ("why", "state"),
        [
            ("absent", "dropped"),
            ("shape", "dropped"),
            ("rows", "none"),
            ("tied", "none"),
            ("codes", "not-checked"),
        ],
    )
    def test_of_the_base_alone(self, why, state):
        assert head_state([], [left(3, "head", why)], []) == state

    def test_what_is_left_over_elsewhere_is_no_head(self):
        assert head_state([], [left(3)], [left(3)]) == "none"

    def test_of_both(self):
        assert head_state([rest("h", "head")], [], []) == "same"
        assert head_state([rest("h", "head"), moved("g", "head")], [], []) == "changed"
        unseen = replace(rest("h", "head"), identical=None, judged_by="not-checked")
        assert head_state([unseen], [], []) == "not-checked"
        assert head_state([unseen, rest("g", "head")], [], []) == "same"


def test_the_summary_counts_each_tensor_once_and_heads_apart():
    parts = [replace(moved("qkv", "bias", 2), part=part) for part in "qkv"]
    found = summarise(
        [*parts, rest("b", "bias", 5), moved("h", "head", 7), rest("w", "weight", 11)], [], [], ()
    )
    assert (found.biases, found.changed_biases) == (2, 1)
    assert (found.bias_parameters, found.changed_bias_parameters) == (11, 6)
    assert (found.changed_tensors, found.compared_tensors) == (2, 4)
    assert (found.changed_parameters, found.compared_parameters) == (13, 29)
