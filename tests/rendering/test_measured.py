"""Rankings, spectra, likeness and a run's course as text of any width, and as JSON that says the same."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from support.builders import biases, copied, move, state, write
from support.reporting import described

from bitfit_probe.records.measures import Adequacy, Likeness, Trajectory
from bitfit_probe.records.report import Measured
from bitfit_probe.rendering import report_to_json, report_to_text
from bitfit_probe.rendering.document.blocks import Block, Document
from bitfit_probe.rendering.document.terminal import to_text
from bitfit_probe.rendering.figures import measure
from bitfit_probe.rendering.subjects.likeness import likeness_table
from bitfit_probe.rendering.subjects.spectra import top_spectra
from bitfit_probe.rendering.subjects.training import LONG_ENOUGH, adequacy_text, trajectory_chart

QUERY = "bert.encoder.layer.0.attention.self.query.weight"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Three tuned checkpoints: two alike, one not; one with a matrix moved, one with a NaN in another."""
    folder, base = tmp_path_factory.mktemp("report"), state("bert")
    one = move(base, *biases(base), QUERY)
    two = {name: base[name] + 1.5 * (one[name] - base[name]) for name in base}
    two["bert.pooler.dense.weight"] = two["bert.pooler.dense.weight"].clone()
    two["bert.pooler.dense.weight"][0, 0] = float("nan")
    three = copied(base)
    for name in biases(base):
        three[name] += 0.1 * torch.randn(base[name].shape, generator=torch.Generator().manual_seed(len(name)))
    paths = [
        write(folder / f"{n}.safetensors", s) for n, s in (("b", base), ("1", one), ("2", two), ("3", three))
    ]
    return described(*paths, by=("role", "layer", "role-layer", "tensor"), spectra=True, trajectory=True)


@pytest.mark.parametrize("width", [40, 47, 59, 60, 71, 72, 80, 99, 120])
@pytest.mark.parametrize("by", [None, "role", "layer", "role-layer", "tensor"])
def test_no_line_is_wider_than_asked(width, by, report):
    text = report_to_text(report, width=width, by=by)
    assert max(map(len, text.splitlines())) <= width
    assert all(line.isprintable() for line in text.splitlines())


def lines_of(*blocks: Block, width: int = 80) -> list[str]:
    return to_text(Document(lead=blocks), width).splitlines()


def table(text, title, stop=""):
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(title))
    return lines[start : lines.index(stop, start)]


def test_the_ranking_shows_its_figures(report):
    lines = table(report_to_text(report, by="role"), "Biases by role")
    ranking = report.measured[0].rankings[0]
    first = ranking.rows[0]
    assert lines[1].split() == ["role", "mean|Δ|", "relative", "BEFT", "cosine", "mean", "shift", "mark"]
    names = ("mean_abs_delta", "relative_l2", "beft", "cosine", "mean_shift")
    assert lines[2].split() == [first.group.label, *(measure(n).text(getattr(first, n)) for n in names)]
    assert float(lines[2].split()[1]) == pytest.approx(first.mean_abs_delta, rel=5e-3)
    assert (lines[-1].split()[0], lines[-1].split()[-2:]) == ("k", ["no", "effect"])
    assert "no effect: softmax cancels these biases." in report_to_text(report, by="role")


def test_top_limits_tensors_only(report):
    tensors = table(report_to_text(report, by="tensor", top=3), "The 3 of 16 biases")
    assert (
        sum(line.endswith(".bias") for line in tensors) == 3 + 2
    )  # and the key biases, of which there are 2
    assert len(table(report_to_text(report, by="role", top=3), "Biases by role")) == 2 + 10


def test_a_tensor_keeps_the_end_of_its_name(report):
    lines = table(report_to_text(report, by="tensor", width=80), "The 10 of 16")
    assert all(line.endswith(".bias") for line in lines[2:12])
    assert any(".layer.1." in line for line in lines)


def test_matrices_that_moved_are_listed_by_tensor_too(report):
    assert QUERY in report_to_text(report, by="tensor", width=120)


def test_spectra(report):
    (found,) = report.measured[0].spectra
    lines = table(report_to_text(report), "Change of matrices")
    assert [word for line in lines[1:3] for word in line.split()] == [
        *("effective", "stable"),
        *("σ₁(Δ)", "rank", "rank", "matrix"),
    ]
    assert lines[3].split() == [
        f"{found.spectral_norm:#.3g}",
        f"{found.effective_rank:.1f}",
        f"{found.stable_rank:.1f}",
        found.name,
    ]
    said = "No singular values of bert.pooler.dense.weight: holds NaN or infinite values."
    assert said in " ".join(report_to_text(report, width=120).split())


def test_the_strength_of_a_merge_has_a_column_where_it_is_known(report):
    (found,) = report.measured[0].spectra
    measured = Measured(spectra=(replace(found, merge_strength=2.0),))
    shown = lines_of(*top_spectra("spectra", measured, 10))
    assert any("α*" in line for line in shown)
    assert shown[3].split()[0] == "2.00"


def test_likeness_and_the_odd_one(report):
    lines = table(report_to_text(report), "How alike they moved")
    assert lines[2].split()[1:3] == ["1.000", "1.000"]
    assert lines[2].endswith("1.safetensors")
    assert "Odd one out: 3, " in " ".join(report_to_text(report).split())


def test_many_checkpoints_fit():
    width = 80
    count = 30
    cosine = tuple(tuple(1.0 if i == j else 0.25 for j in range(count)) for i in range(count))
    names = tuple(f"/long/path/of/run/{i:02}/model" for i in range(count))
    lines = lines_of(likeness_table("likeness", Likeness(names, None, cosine)), width=width)
    assert max(map(len, lines)) <= width
    assert lines[2].split()[:2] == ["0.250", "1"]
    assert len(lines) == 2 + count + 1
    assert lines[-1] == "(with more room: 1, 2, 3, 4, 5, 6 and 24 more)"


def test_a_long_run_shows_its_first_and_last_step():
    steps = tuple(range(100, 10_100, 100))
    norms = tuple(float(i) for i in range(100))
    found = Trajectory(steps, ("q", "k"), (norms, (0.0,) * 100), (norms, (0.0,) * 100), (None, None))
    lines = lines_of(trajectory_chart(found))
    assert max(map(len, lines)) <= 80
    words = lines[1].split()
    assert words[0] == "role"
    assert (words[1], words[-2]) == ("100", "10,000")
    assert "and 86 more)" in lines[-1]  # 8 of 100 steps are shown, 6 others named
    assert lines[2].split()[0] == "q"
    assert lines[2].endswith(" no")
    assert lines[3].endswith("never moved")


@pytest.mark.parametrize("state_", ["under-trained", "healthy", "blown-up", "decayed", "inconclusive"])
def test_trained_enough(state_):
    (line,) = lines_of(adequacy_text(Adequacy(1.0, 1.0, None, state_, ("one", "two"))))
    assert line == f"Trained long enough? {LONG_ENOUGH[state_].capitalize()}: one; two."


def test_what_was_never_trained_is_said_once(report):
    """By the verdict."""
    for adequacy in (Adequacy(None, None, None, "untrained", ("nothing",)), None):
        measured = (Measured(adequacy=adequacy),) * len(report.measured)
        assert "Trained long enough?" not in report_to_text(replace(report, measured=measured))
    assert "Trained long enough?" in report_to_text(report)


def test_json_says_what_the_records_say(report):
    document = json.loads(report_to_json(report), parse_constant=lambda name: pytest.fail(name))
    for item, measured in zip(document["comparisons"], report.measured, strict=True):
        assert item["adequacy"]["state"] == measured.adequacy.state
        for ranking, expected in zip(item["rankings"], measured.rankings, strict=True):
            assert (ranking["by"], ranking["paper"]) == (expected.by, False)
            assert [row["beft"] for row in ranking["rows"]] == [row.beft for row in expected.rows]
            assert set(ranking["rows"][0]) == {
                *("label", "role", "stack", "layer", "names", "elements", "no_effect", "mean_abs_delta"),
                *("relative_l2", "beft", "cosine", "mean_shift", "above_rounding", "fisher"),
                *("noise_floor", "tied"),
            }  # fmt: skip
    (spectrum,) = document["comparisons"][0]["spectra"]
    assert spectrum["singular_values"] == list(report.measured[0].spectra[0].singular_values)
    assert spectrum["energy"][0] == {"rank": 1, "share": report.measured[0].spectra[0].energy[0][1]}
    assert document["comparisons"][1]["no_spectrum"] == [
        {"name": "bert.pooler.dense.weight", "why": "holds NaN or infinite values"}
    ]
    assert document["likeness"][0]["odd_one_out"] == 2
    assert document["trajectory"]["steps"] == [1, 2, 3]


def test_keys_that_were_not_asked_for_are_absent(tmp_path):
    base = state("bert")
    paths = [
        write(tmp_path / name, side) for name, side in (("b.pt", base), ("t.pt", move(base, *biases(base))))
    ]
    document = json.loads(report_to_json(described(*paths, by=())))
    assert set(document) == {"format_version", "base", "architecture", "comparisons"}
    assert not {"rankings", "spectra", "no_spectrum"} & set(document["comparisons"][0])


def test_evil_names_do_no_harm(tmp_path):
    evil = "a\x1b[31m\u202e=1.bias"
    base = {evil: torch.zeros(3), "encoder.layer.0.weight": torch.zeros(4, 4)}
    paths = [write(tmp_path / f"{i}.pt", {n: t + i for n, t in base.items()}) for i in range(3)]
    report = described(*paths, by=("role", "layer", "tensor"), spectra=True, trajectory=True)
    for by in ("role", "layer", "tensor"):
        assert all(line.isprintable() for line in report_to_text(report, by=by).splitlines())
    assert "\x1b" not in report_to_json(report)
