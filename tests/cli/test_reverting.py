"""``diff --data``: which biases matter, in text and JSON; and nothing of it without --data."""

from __future__ import annotations

import json

import pytest
from support.planted import planted_pair
from support.texts import write_rows

from bitfit_probe import cli


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    return planted_pair(tmp_path_factory.mktemp("planted"), 300)


def run(capsys, *args):
    code = cli.run([*map(str, args)])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("columns", ["80", "44"])
def test_the_table_and_what_is_free(capsys, monkeypatch, planted, columns):
    monkeypatch.setenv("COLUMNS", columns)
    base, tuned, data = planted
    code, out, err = run(capsys, "diff", base, tuned, "--data", data, "--revert", "role-layer")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= int(columns)
    table = out[out.index("put back to") :] if columns == "80" else out
    rows = [line for line in table.splitlines() if line.startswith(("LN2 1 ", "m1 0 "))]
    assert ["matters" in row for row in rows] == [True, False]
    assert ["free" in row for row in rows] == [False, True]
    assert "Restorable at no loss, each by itself:" in " ".join(out.split())
    assert "accuracy 100.0%" in out.replace("\n", " ")


def test_json_holds_the_figures_and_the_verdicts(capsys, planted):
    base, tuned, data = planted
    code, out, err = run(capsys, "diff", base, tuned, "--data", data, "--format", "json", "--by", "role")
    assert (code, err) == (0, "")
    comparison = json.loads(out)["comparisons"][0]
    found = comparison["reverting"]
    first = found["rows"][0]
    assert (first["label"], first["verdict"], found["by"]) == ("LN2", "matters", "role")
    low, high = first["loss_interval"]
    assert low <= first["loss_change"] <= high
    assert (found["unit"], found["tolerance"], found["confidence"]) == ("nats", 0.02, 0.95)
    assert {row["verdict"] for row in found["rows"]} == {"matters", "free", "no effect"}
    assert found["together"]["free"] is True
    assert all(row["fisher"] is not None for row in comparison["rankings"][0]["rows"])


def test_without_data_nothing_of_it_is_there(capsys, planted):
    _, out, _ = run(capsys, "diff", *planted[:2], "--format", "json", "--by", "role")
    comparison = json.loads(out)["comparisons"][0]
    assert "reverting" not in comparison
    assert all(row["fisher"] is None for row in comparison["rankings"][0]["rows"])


def test_columns_examples_and_tolerance_are_passed_on(capsys, planted, tmp_path):
    base, tuned, data = planted
    rows = [line.split(",") for line in data.read_text().splitlines()[1:]]
    path = write_rows(tmp_path / "d.csv", rows, header=("said", "kind"))
    options = ["--text", "said", "--label", "kind", "--examples", 50, "--tolerance", 100]
    code, out, _ = run(capsys, "diff", base, tuned, "--data", path, *options, "--format", "json")
    found = json.loads(out)["comparisons"][0]["reverting"]
    assert code == 0
    assert (found["examples"], found["tolerance"]) == (50, 100.0)
    assert all(row["free"] for row in found["rows"])


@pytest.mark.parametrize(
    "option", [["--revert", "role"], ["--text", "x"], ["--examples", "9"], ["--model-dir", "."]]
)
def test_options_that_need_data_say_so(capsys, planted, option):
    code, out, err = run(capsys, "diff", *planted[:2], *option)
    assert (code, out) == (2, "")
    assert f"{option[0]} needs --data" in err


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        ([("word05", "good"), ("word06", "bad")], "error BE401: "),
        ([], "error BE401: "),
    ],
)
def test_bad_examples_are_one_line_and_nothing_else(capsys, planted, tmp_path, rows, error):
    out_file = tmp_path / "out.txt"
    path = write_rows(tmp_path / "d\x1b[31m.csv", rows)
    code, out, err = run(capsys, "diff", *planted[:2], "--data", path, "--out", out_file)
    assert (code, out) == (2, "")
    assert err.startswith(error)
    assert err.count("\n") == 1
    assert "\x1b" not in err
    assert not out_file.exists()
