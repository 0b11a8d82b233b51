"""JSON as a contract, CSV that spreadsheets and frames read, text that fits the terminal."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from dataclasses import replace

import pandas as pd
import pytest
import torch
from support.builders import biases, compare, copied, diff_states, move, state, toy

from bitfit_probe.measures.ranking import rank
from bitfit_probe.records import CheckpointInfo, Diff
from bitfit_probe.records.report import Measured, Report
from bitfit_probe.rendering import (
    diff_to_csv,
    diff_to_json,
    diff_to_text,
    headline,
    printable,
    report_to_text,
)

ROW = {
    "name",
    "tuned_name",
    "part",
    "expert",
    "role",
    "layer",
    "stack",
    "kind",
    "shape",
    "base_dtype",
    "tuned_dtype",
    "identical",
    "judged_by",
    "mean_abs_delta",
    "l1_delta",
    "l2_delta",
    "max_abs_delta",
    "relative_l2",
    "mean_shift",
    "cosine",
    "changed_fraction",
    "sign_flips",
    "nonfinite_base",
    "nonfinite_tuned",
    "rounding_floor",
    "above_rounding",
    "cast_through",
    "base_l2",
    "tuned_l2",
}
SUMMARY = {
    "changed_tensors",
    "compared_tensors",
    "changed_parameters",
    "compared_parameters",
    "bias_parameters",
    "changed_bias_parameters",
    "biases",
    "changed_biases",
    "relative_l2",
    "head_changed",
    "head",
    "offenders",
    "judged_by",
    "rounded_to",
    "nonfinite_tensors",
    "base_left",
    "matrix_cosine",
    "unrelated",
    "retyped",
    "quantised",
    "quantisation_loss",
}
COVERAGE = {
    "base_parameters",
    "compared_parameters",
    "by_design_parameters",
    "share",
    "enough",
    "head_parameters",
    "compared_head_parameters",
    "rest",
}
SIDE = {"path", "format", "tensors", "parameters", "biases", "notes", "unread"}
COMPARISON = {
    "tuned",
    "verdict",
    "headline",
    "key_bias_cancels",
    "summary",
    "coverage",
    "tensors",
    "roles",
    "unmatched_base",
    "unmatched_tuned",
    "notes",
}
NUMBERS = ROW - {
    "name",
    "tuned_name",
    "part",
    "role",
    "layer",
    "stack",
    "kind",
    "shape",
    "base_dtype",
    "tuned_dtype",
    "identical",
    "judged_by",
    "cast_through",
    "sign_flips",
    "nonfinite_base",
    "nonfinite_tuned",
}


@pytest.fixture
def bitfit(tmp_path):
    base = state("bert")
    tuned = move(base, *biases(base))
    tuned["bert.pooler.dense.bias"][0] = math.nan
    tuned["classifier.weight"] = torch.ones(5, 32)
    return diff_states(tmp_path, base, tuned)


def strict(text):
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_json_keys_and_types(bitfit):
    document = strict(diff_to_json(bitfit))
    assert set(document) == {"format_version", "base", "architecture", "comparisons"}
    assert document["format_version"] == 1
    (item,) = document["comparisons"]
    assert set(item) == COMPARISON
    assert set(document["base"]) == set(item["tuned"]) == SIDE
    assert set(item["summary"]) == SUMMARY
    assert set(item["coverage"]) == COVERAGE
    assert set(item["summary"]["judged_by"]) == {"compared", "checksum", "not-checked"}
    for found in item["tensors"]:
        assert set(found) == ROW
        assert all(isinstance(found[name], (float, int, type(None))) for name in NUMBERS)
        assert all(isinstance(size, int) for size in found["shape"])
        assert found["kind"] in {"bias", "weight", "norm", "embedding", "head", "buffer"}
        assert found["judged_by"] in {"compared", "checksum", "not-checked"}
        assert isinstance(found["identical"], bool)
    assert {tuple(sorted(i)) for i in item["unmatched_base"] + item["unmatched_tuned"]} == {
        ("expert", "kind", "layer", "name", "role", "shape", "stack", "why")
    }


def test_json_says_what_the_records_say(bitfit):
    (item,) = strict(diff_to_json(bitfit))["comparisons"]
    comparison = bitfit.comparisons[0]
    assert (item["verdict"], item["headline"]) == (comparison.verdict, headline(comparison))
    assert item["summary"]["head_changed"] is True
    assert [r["name"] for r in item["tensors"]] == [r.name for r in comparison.tensors]
    assert [r["l2_delta"] for r in item["tensors"]] == [r.l2_delta for r in comparison.tensors]


def test_json_has_null_for_an_infinite_figure(bitfit):
    comparison = bitfit.comparisons[0]
    rows = (replace(comparison.tensors[0], cosine=math.inf, l2_delta=math.nan), *comparison.tensors[1:])
    text = diff_to_json(replace(bitfit, comparisons=(replace(comparison, tensors=rows),)))
    first = strict(text)["comparisons"][0]["tensors"][0]
    assert first["cosine"] is first["l2_delta"] is None


def test_csv_in_csv_and_pandas(bitfit):
    text = diff_to_csv(bitfit)
    rows = list(csv.DictReader(io.StringIO(text)))
    frame = pd.read_csv(io.StringIO(text))
    records = bitfit.comparisons[0].tensors
    assert set(frame.columns) == ROW | {"tuned", "base_coverage"}
    assert set(frame["base_coverage"]) == {1.0}
    assert [r["name"] for r in rows] == list(frame["name"]) == [r.name for r in records]
    for got, want in zip(rows, records, strict=True):
        assert got["mean_abs_delta"] == ("" if want.mean_abs_delta is None else repr(want.mean_abs_delta))
        assert got["shape"] == "x".join(map(str, want.shape))


EVIL = ["=1+1", "+cmd", "-2", "@SUM(A1)", "\t=1", "\r=1", "a,b", 'a"b', "a\nb", "\x1b[31mred", "a\u202eb"]


@pytest.mark.parametrize("name", EVIL)
def test_evil_names_do_no_harm(name, tmp_path):
    """No formula in a cell, no control character in any output, and all of it parses."""
    base = {name: torch.zeros(3), "encoder.layer.0.weight": torch.zeros(4, 4)}
    result = diff_states(tmp_path, base, {n: t + 1 for n, t in base.items()})
    cells = {row["name"] for row in csv.DictReader(io.StringIO(diff_to_csv(result)))}
    assert len(cells) == 2
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells)
    for text in (diff_to_csv(result), diff_to_text(result), diff_to_json(result)):
        assert all(line.isprintable() for line in text.split("\n"))
    assert name in {r["name"] for r in strict(diff_to_json(result))["comparisons"][0]["tensors"]}


def test_printable_keeps_what_can_be_read():
    assert printable("naïve·Δ.bias") == "naïve·Δ.bias"
    assert printable("a\x07\udc80") == "a\\x07\\udc80"


# Text ---------------------------------------------------------------------------------------------

LONG = "a_rather_long_wrapper_name.another_quite_long_module_name.encoder.layer."


def tall(folder):
    base = {
        f"{LONG}{i}.{name}": torch.randn(4)
        for i in range(24)
        for name in ("attention.self.query.bias", "attention.output.dense.bias", "output.dense.bias")
    }
    return diff_states(folder, base, {n: t + 0.003 for n, t in base.items()})


def stacks(folder):
    base = {
        f"model.{s}.layers.{i}.{m}.bias": torch.randn(4)
        for s in ("encoder", "decoder")
        for i in range(13)
        for m in ("self_attn.q_proj", "self_attn.v_proj", "fc1", "fc2", "self_attn_layer_norm")
    }
    base |= {f"model.decoder.layers.{i}.encoder_attn.q_proj.bias": torch.randn(4) for i in range(13)}
    return diff_states(folder, base, {n: t + 0.5 for n, t in base.items()})


def left_over(folder):
    base = state("bert") | {f"bert.{'very_' * 30}long.{i}.bias": torch.ones(2) for i in range(6)}
    tuned = move(state("bert"), *biases(state("bert"))[1:])
    return diff_states(folder, base, tuned, biases_only=True)


def everything(folder):
    base = state("t5")
    return diff_states(folder, base, move(base, *base))


def ranked(diff, by):
    rankings = [(rank(comparison, by),) if by else () for comparison in diff.comparisons]
    return Report(diff, tuple(Measured(each) for each in rankings))


@pytest.mark.parametrize("width", [40, 41, 47, 55, 59, 60, 61, 72, 80, 99, 120])
@pytest.mark.parametrize("build", [tall, stacks, left_over, everything])
@pytest.mark.parametrize("by", [None, "tensor", "role", "layer", "role-layer"])
def test_no_line_is_wider_than_asked(width, build, by, built):
    text = report_to_text(ranked(built(build), by), width=width, by=by)
    assert max(map(len, text.splitlines())) <= width
    assert text.isascii() or all(line.isprintable() for line in text.splitlines())
    assert "\x1b" not in text
    assert text.endswith("\n")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    made = {}

    def get(build):
        if build not in made:
            made[build] = build(tmp_path_factory.mktemp("wide"))
        return made[build]

    return get


def test_all_layers_of_a_tall_stack_are_shown_once(built):
    text = diff_to_text(built(tall), width=60)
    headers = [line.split() for line in text.splitlines() if line.startswith("role ")]
    numbers = [int(word) for words in headers for word in words if word.isdigit()]
    assert numbers == list(range(24))


def test_heat_map_shows_the_planted_size(built):
    text = diff_to_text(built(tall), width=100)
    assert "10⁻³" in text
    cells = [line for line in text.splitlines() if line.startswith("q ")]
    assert all(set(line.split()[1:]) == {"3.00"} for line in cells)


def test_top_lists_the_largest_first(tmp_path):
    base = state("bert")
    tuned = copied(base)
    names = biases(base)[:3]
    for size, name in enumerate(names, 1):
        tuned[name] += size
    lines = diff_to_text(diff_states(tmp_path, base, tuned), width=120, top=2).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("The 2 tensors of 3"))
    shown = [re.search(r"\S+\.bias", line)[0] for line in lines[start + 2 : start + 4]]
    assert shown == names[:0:-1]


def test_the_smallest_float64_change_is_printed(tmp_path):
    base = toy(encoder__layer__0__output__dense__bias=torch.zeros(4, dtype=torch.float64))
    text = diff_to_text(diff_states(tmp_path, base, {n: t + 5e-324 for n, t in base.items()}))
    assert "Biases, mean|Δ|" in text


HEADLINES = {
    "identical": "Identical: nothing changed in 41 tensors, bit for bit.",
    "rounding-only": "Rounding only: nothing was trained; the fine-tuned side is the base cast to bfloat16.",
    "bitfit": "BitFit: 18 of 18 biases moved, nothing else.",
    "bitfit+norm": "BitFit with norms: 18 of 18 biases and 5 of 5 norm scales moved, nothing else.",
    "offender": (
        "BitFit: 18 of 18 biases moved, but so did 1 tensor expected frozen: bert.pooler.dense.weight."
    ),
    "head-only": "Head only: the head changed, none of the other 39 tensors moved.",
    "buffers": "Identical: nothing changed but 1 buffer, which no training sets.",
}


@pytest.mark.parametrize("case", HEADLINES)
def test_headlines(case, tmp_path):
    base = state("bert")
    names = biases(base)
    buffer = "bert.embeddings.position_ids"
    if case == "buffers":
        base[buffer] = torch.arange(4)
    tuned = {
        "identical": lambda: base,
        "rounding-only": lambda: {n: t.bfloat16() for n, t in base.items()},
        "bitfit": lambda: move(base, *names),
        "bitfit+norm": lambda: move(base, *names, *(n for n in base if n.endswith("LayerNorm.weight"))),
        "offender": lambda: move(base, *names, "bert.pooler.dense.weight"),
        "head-only": lambda: move(base, "classifier.weight"),
        "buffers": lambda: base | {buffer: torch.arange(4) + 1},
    }[case]()
    assert headline(compare(tmp_path, base, tuned)) == HEADLINES[case]


@pytest.mark.parametrize(
    ("verdict", "start"),
    [
        ("full", "Full fine-tuning: "),
        ("partial", "Partly tuned: "),
        ("merged-lora", "Merged LoRA: "),
        ("adapter", "An adapter"),
        ("incomparable", "Incomparable: "),
    ],
)
def test_every_other_verdict_has_a_sentence(verdict, start, bitfit):
    text = headline(replace(bitfit.comparisons[0], verdict=verdict))
    assert text.startswith(start)
    assert "1 tensor of it holds NaN" in text


def test_stacks_of_the_same_role_stay_apart(built):
    """Encoder and decoder have a q each; neither is averaged into the other."""
    roles = [(r.stack, r.role, r.layer) for r in built(stacks).comparisons[0].roles]
    assert len(roles) == len(set(roles))
    assert {stack for stack, *_ in roles} == {"encoder", "decoder"}


def test_an_empty_diff_renders():
    empty = Diff(CheckpointInfo("a", "safetensors", 0, 0, 0), "generic", "heuristics")
    assert strict(diff_to_json(empty))["comparisons"] == []
    assert diff_to_csv(empty) == ""
    assert "a" in diff_to_text(empty)
