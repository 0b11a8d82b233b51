"""`recommend` from the command line: what it hands on, what it prints and where, how it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support import recommended as made

import bitfit_probe.api.task
from bitfit_probe.cli import cli, main
from bitfit_probe.cli.options import COLUMNS
from bitfit_probe.data import Columns
from bitfit_probe.errors import DataError
from bitfit_probe.records.options import RecommendOptions
from bitfit_probe.rendering import recommended_to_text
from bitfit_probe.rendering.recommend_json import recommended_to_json

RESULT = made.recommended(made.FIRST, trial=made.TRIAL)


@pytest.fixture
def asked(monkeypatch):
    """What the library was asked; it answers with a made-up recommendation."""
    calls = []

    def recommend(model, data, *, progress, **more):
        for stage in ("texts", "reach", "trial"):
            progress(stage, 1, 2)
        print("noise from a library")
        calls.append({"model": model, "data": data, **more})
        return RESULT

    monkeypatch.setattr(bitfit_probe.api.task, "recommend", recommend)
    return calls


@pytest.fixture
def run(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    def call(*args):
        with pytest.raises(SystemExit) as ended:
            main(["recommend", *map(str, args)])
        printed = capsys.readouterr()
        return ended.value.code or 0, printed.out, printed.err

    return call


def test_text_goes_to_stdout_and_noise_does_not(asked, run):
    assert run("base", "--data", "d.csv") == (0, recommended_to_text(RESULT), "noise from a library\n")


def test_json_is_the_librarys(asked, run):
    status, out, _ = run("base", "--data", "d.csv", "--format", "json")
    assert (status, out) == (0, recommended_to_json(RESULT))
    assert json.loads(out)["recommendation"]["method"] == "bitfit"


def test_defaults(asked, run):
    run("base", "--data", "d.csv")
    assert asked == [
        {
            "model": Path("base"),
            "data": Path("d.csv"),
            "columns": Columns(None, None, None),
            "tuned": (),
            "options": RecommendOptions(),
        }
    ]


def test_everything_is_handed_on(asked, run):
    run(
        *("base", "--data", "d.csv", "--text", "t", "--pair", "p", "--label", "l"),
        *("--tuned", "one", "--tuned", "two", "--trial", 2.5, "--work-dir", "w", "--margin", 0.5),
        *("--reference", "r.txt", "--examples", 50, "--seed", 7, "--quiet"),
    )
    assert asked == [
        {
            "model": Path("base"),
            "data": Path("d.csv"),
            "columns": Columns("t", "p", "l"),
            "tuned": (Path("one"), Path("two")),
            "options": RecommendOptions(
                Path("r.txt"), examples=50, seed=7, trial=2.5, work_dir=Path("w"), margin=0.5
            ),
        }
    ]


def test_no_reference_is_no_file(asked, run):
    run("base", "--data", "d.csv", "--no-reference")
    assert asked[0]["options"].reference is False


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ((), "Missing option '--data'"),
        (("--data", "d.csv", "--work-dir", "w"), "--work-dir needs --trial"),
        (("--data", "d.csv", "--trial", "0"), "x>0"),
        (("--data", "d.csv", "--margin", "-1"), "x>=0"),
        (("--data", "d.csv", "--reference", "r", "--no-reference"), "exclude each other"),
        (("--data", "d.csv", "--format", "csv"), "'csv' is not one of"),
    ],
)
def test_what_contradicts_itself_is_refused(options, what, asked, run):
    status, out, err = run("base", *options)
    assert (status, out, asked) == (2, "", [])
    assert what in err


def test_it_writes_a_file_and_never_over_an_input(asked, run, tmp_path):
    data, out = tmp_path / "d.csv", tmp_path / "out.txt"
    data.write_text("text,label\n")
    status, printed, _ = run("base", "--data", data, "--out", out)
    assert (status, printed, out.read_text("utf-8")) == (0, "", recommended_to_text(RESULT))
    status, _, err = run("base", "--data", data, "--out", data)
    assert (status, data.read_text()) == (2, "text,label\n")
    assert "would overwrite an input" in err


def test_errors_are_one_line(monkeypatch, run):
    def refuse(*_, **__):
        raise DataError("has one class only", advice="give examples of two", path="d\x1b.csv")

    monkeypatch.setattr(bitfit_probe.api.task, "recommend", refuse)
    status, out, err = run("base", "--data", "d.csv")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "\x1b" not in err


def test_help_stays_light():
    code = (
        "import sys; from bitfit_probe.cli import main\n"
        "try: main(['recommend', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'torch', 'transformers', 'pandas', 'sklearn', 'seaborn', 'bitfit_probe.data'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--trial MINUTES" in done.stdout


@pytest.mark.parametrize("name", ["check", "diff", "distance", "recommend", "report", "tune"])
def test_columns_are_named_alike_everywhere(name):
    """The three options in their order, with one wording."""
    wanted = [option(lambda: None).__click_params__[0] for option in COLUMNS]
    found = [item for item in cli.commands[name].params if item.name in ("text", "pair", "label")]
    assert [(item.name, item.opts, item.help) for item in found] == [
        (item.name, item.opts, item.help) for item in wanted
    ]
