"""What a fleet comes to, on rows with planted directions, sizes and copies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builders import biases, copied, state, write

import bitfit_probe as bp
from bitfit_probe.fleet.manifest import Entry, Manifest, Run
from bitfit_probe.fleet.standing_out import fleet_of
from bitfit_probe.measures.delta_sketch import bias_sketch
from bitfit_probe.pair import Pair
from bitfit_probe.records.fleet import FleetRow


def fleet(*rows):
    entries = {row.tuned: Entry(row, "") for row in rows}
    return fleet_of(Manifest(Run("base", "", {}, "1", tuple(entries)), entries))


def row(name, direction=(1.0, 0.0, 0.0), size=1.0, **more):
    told = {"verdict": "bitfit", "direction": tuple(direction), "bias_change": size, "contents": name}
    return FleetRow(name, "judged", **(told | more))


def near(axis, share, seed):
    """A unit vector whose cosine with an axis is `share`, the rest in a direction of its own."""
    rest = np.random.default_rng(seed).standard_normal(64)
    rest[:3] = 0
    out = np.zeros(64)
    out[axis] = share
    return out + (1 - share**2) ** 0.5 * rest / np.linalg.norm(rest)


def test_planted_clusters_are_found_and_the_one_alone_is_an_outlier():
    first = [row(f"a{n}", near(0, 0.9, n)) for n in range(4)]
    second = [row(f"b{n}", near(1, 0.9, 10 + n)) for n in range(2)]
    found = fleet(*first, *second, row("c", near(2, 0.9, 20)))
    assert [item.members for item in found.clusters] == [("a0", "a1", "a2", "a3"), ("b0", "b1")]
    assert [(item.tuned, "direction" in item.why) for item in found.outliers] == [("c", True)]
    mean = np.mean([item.direction for item in first], axis=0)
    assert found.clusters[0].likeness == pytest.approx(np.linalg.norm(mean))


def test_sizes_far_from_the_median_stand_out_and_ten_times_is_blown_up():
    usual = [row(f"r{n}", size=1 + n / 50) for n in range(8)]
    found = fleet(*usual, row("small", size=0.01), row("large", size=4.0), row("huge", size=40.0))
    assert {item.tuned for item in found.outliers} == {"small", "large", "huge"}
    assert found.blown_up == ("huge",)


def test_sizes_that_hardly_differ_do_not_stand_out():
    """The spread of equals is 0, by which anything would be far away."""
    assert fleet(*(row(f"r{n}") for n in range(8)), row("r8", size=1.5)).outliers == ()


def test_values_that_are_not_finite_are_blown_up_whatever_the_others_are():
    assert fleet(row("a"), row("b", nonfinite_tensors=1)).blown_up == ("b",)


def test_copies_are_named_and_the_base_itself_is_none():
    same = [row(f"r{n}", contents="x") for n in range(2)]
    unmoved = [row(f"u{n}", (), 0.0, contents="y", verdict="identical") for n in range(2)]
    found = fleet(*same, row("z"), *unmoved)
    assert found.duplicates == (("r0", "r1"),)
    assert found.unmoved == ("u0", "u1")


def test_what_has_no_row_is_missing():
    entries = {"a": Entry(row("a"), "")}
    assert fleet_of(Manifest(Run("base", "", {}, "1", ("a", "b")), entries)).missing == ("b",)


@given(st.permutations(range(6)))
def test_the_order_of_rows_does_not_matter(order):
    rows = [row(f"r{n}", near(n % 2, 0.8, n), size=1.0 + n) for n in range(6)]
    assert fleet(*(rows[n] for n in order)) == fleet(*rows)


def test_sketches_keep_the_cosines_of_the_changes(tmp_path):
    """Within four standard deviations, 4/√1024; and the norm of the change as well."""
    base = state("bert")
    paths, deltas = [write(tmp_path / "base.safetensors", base)], []
    names = [name for name in biases(base) if "key" not in name]  # BERT's key bias has no effect
    random = np.random.default_rng(5)
    shared = {name: random.standard_normal(base[name].shape) for name in names}
    for at, share in enumerate((0.9, 0.6, 0.0)):
        tuned = copied(base)
        for name in names:
            own = random.standard_normal(base[name].shape)
            tuned[name] += 0.05 * (share * shared[name] + (1 - share**2) ** 0.5 * own)
        deltas.append(np.concatenate([(tuned[name] - base[name]).double().numpy() for name in names]))
        paths.append(write(tmp_path / f"{at}.safetensors", tuned))
    sketches = [bias_sketch(Pair.open(paths[0], path)) for path in paths[1:]]
    for one in range(3):
        for other in range(3):
            exact = deltas[one] @ deltas[other]
            scale = np.linalg.norm(deltas[one]) * np.linalg.norm(deltas[other])
            assert sketches[one] @ sketches[other] == pytest.approx(exact, abs=0.125 * scale)


def test_a_copy_in_another_container_is_a_copy(tmp_path):
    from support.fleets import run, write_base, write_bitfit

    base, one = write_base(tmp_path), write_bitfit(tmp_path / "one")
    from safetensors.torch import load_file

    other = write(tmp_path / "other.pt", load_file(one / "model.safetensors"))
    found = run(base, [one, other, write_bitfit(tmp_path / "third", 0.051)], tmp_path / "out")
    assert found.duplicates == ((str(one), str(other)),)
    assert isinstance(found, bp.Fleet)
