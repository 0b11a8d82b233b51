"""``check`` and ``explain``: exit status, formats, selection; and that it loads no more than it needs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from support.builders import move, state
from support.pairs import bitfit, log, write_pair

from bitfit_probe.api.check import explanations
from bitfit_probe.cli import main

MATRIX = "bert.encoder.layer.0.output.dense.weight"


@pytest.fixture
def run(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    def call(*args):
        with pytest.raises(SystemExit) as ended:
            main([*map(str, args)])
        printed = capsys.readouterr()
        return ended.value.code or 0, printed.out, printed.err

    return call


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """By severity of the worst finding."""
    folder = tmp_path_factory.mktemp("pairs")
    base, tuned = bitfit()
    return {
        "none": write_pair(folder / "none", base, tuned),
        "error": write_pair(folder / "error", base, base),
        "warning": write_pair(folder / "warning", base, move(tuned, MATRIX)),
        "info": write_pair(folder / "info", base, tuned, trainer_state__json=log([1e-3] * 2, [1.0, 0.5])),
    }


@pytest.mark.parametrize(
    ("worst", "statuses"),
    [("none", (0, 0, 0, 0)), ("info", (0, 0, 1, 0)), ("warning", (0, 1, 1, 0)), ("error", (1, 1, 1, 0))],
)
def test_exit_status(run, pairs, worst, statuses):
    levels = ("error", "warning", "info", "never")
    assert tuple(run("check", *pairs[worst], "--fail-on", level)[0] for level in levels) == statuses


def test_errors_fail_by_default(run, pairs):
    assert run("check", *pairs["error"])[0] == 1
    assert run("check", *pairs["warning"])[0] == 0


def test_what_cannot_be_read_ends_with_2(run, pairs, tmp_path):
    (tmp_path / "empty.pt").touch()
    status, out, err = run("check", pairs["none"][0], tmp_path / "empty.pt")
    assert (status, out) == (2, "")
    assert err.startswith("error BE102:")
    assert len(err.splitlines()) == 1


def test_text_fits_and_says_severity_in_words(run, pairs):
    _, out, err = run("check", *pairs["error"])
    lines = out.splitlines()
    assert lines[0] == "✗ error BP201 nothing-moved"
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in out
    assert err == ""
    assert "What to do: Don't deploy it." in out
    assert "1 error, 0 warnings, 0 notes; " in out


def test_silence_says_what_it_is_worth(run, pairs):
    _, out, _ = run("check", *pairs["none"])
    assert out.startswith("Nothing found; ")
    assert "Not checked:\n" in out
    assert "BP501–BP503, BP505–BP506, BP511: there is no adapter" in out
    assert ": no --data given" in out


def test_json_is_what_the_library_gives(run, pairs):
    import bitfit_probe
    from bitfit_probe.rendering import check_to_json

    _, out, _ = run("check", *pairs["warning"], "--format", "json")
    assert json.loads(out) == json.loads(check_to_json(bitfit_probe.check(*pairs["warning"])))


def test_select_and_ignore(run, pairs):
    def codes(*options):
        _, out, _ = run("check", *pairs["error"], "--format", "json", *options)
        document = json.loads(out)
        return [item["code"] for item in document["findings"]], document["checked"]

    assert codes("--select", "BP201, BP3")[0] == ["BP201"]
    assert {code[:3] for code in codes("--select", "BP3")[1]} == {"BP3"}
    assert codes("--ignore", "bp201")[0] == []


@pytest.mark.parametrize("option", ["--select", "--ignore"])
def test_a_code_that_is_none(run, pairs, option):
    status, out, err = run("check", *pairs["none"], option, "BP999")
    assert (status, out) == (2, "")
    assert "BP999" in err


def test_written_whole_to_a_file(run, pairs, tmp_path):
    status, out, _ = run("check", *pairs["error"], "--format", "sarif", "--out", tmp_path / "check.sarif")
    assert (status, out) == (1, "")
    assert json.loads((tmp_path / "check.sarif").read_text())["version"] == "2.1.0"


def test_never_over_an_input(run, pairs):
    target = pairs["error"][1] / "model.safetensors"
    before = target.read_bytes()
    status, _, err = run("check", *pairs["error"], "--out", target)
    assert status == 2
    assert "BE301" in err
    assert target.read_bytes() == before


def test_explain_prints_what_the_rule_says(run):
    status, out, _ = run("explain", "bp203")
    assert status == 0
    assert out.startswith("BP203 step-too-small (warning)\n")
    for heading in ("What it means", "Why it matters", "How it is recognised", "What to do", "References"):
        assert f"\n{heading}\n" in out
    assert max(map(len, out.splitlines())) <= 80


def test_explain_lists_all(run):
    lines = run("explain")[1].splitlines()
    assert [line.split()[0] for line in lines] == [item.code for item in explanations()]


def test_explain_of_an_unknown_code(run):
    status, _, err = run("explain", "BP999")
    assert status == 2
    assert "BP999" in err


def test_it_loads_neither_torch_nor_pandas(pairs):
    code = (
        "import sys; from bitfit_probe.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "heavy = ('torch', 'transformers', 'pandas', 'sklearn', 'scipy', 'seaborn')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, "check", *map(str, pairs["warning"])]
    done = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8")
    assert done.stdout.splitlines()[-1] == "[]"


def test_data_columns_are_passed_on(run, pairs, tmp_path):
    (tmp_path / "d.csv").write_text("words,class\na,b\n")
    status, _, err = run("check", *pairs["none"], "--data", tmp_path / "d.csv", "--text", "word")
    assert status == 2
    assert "BE401" in err
    assert "word" in err


def test_the_sample_is_sound(run):
    from bitfit_probe import sample

    assert run("check", sample.base_path(), sample.tuned_path(), "--fail-on", "warning")[0] == 0


def test_names_from_files_do_not_reach_the_terminal_as_commands(run, tmp_path):
    base = state("bert-mlm")
    odd = "bert.\x1b[31mextra.weight"
    import torch

    paths = write_pair(tmp_path, base, base | {odd: torch.full((2,), float("nan"))})
    _, out, _ = run("check", *paths)
    assert "\x1b" not in out
    assert "\\x1b[31m" in out
