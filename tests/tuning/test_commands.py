"""`tune` and `patch` from the command line: what they print, where, and how they refuse."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from support.builders import biases, model, move, state, write
from tuning.tiny import rows, write_csv

import bitfit_probe as bp
from bitfit_probe.cli import cli, main


def run(*args):
    return CliRunner().invoke(cli, [str(arg) for arg in args], catch_exceptions=False, standalone_mode=False)


def refused(capsys, *args):
    """Exit status and the one line on stderr of a command that can't."""
    with pytest.raises(SystemExit) as ended:
        main([str(arg) for arg in args])
    said = capsys.readouterr()
    assert said.out == ""
    return ended.value.code, said.err


def test_tune_says_what_it_did_and_what_to_do_next(bases, task, tmp_path):
    out = tmp_path / "out"
    done = run(
        "tune", bases("bert"), "--data", task, "-o", out, "--epochs", 2, "--roles", "q, m2", "--seed", 3
    )
    assert "BitFit of" in done.stdout
    # 10 % of 16 examples a class, rounded.
    assert "42 trained on, 6 held out, 3 classes" in " ".join(done.stdout.split())
    commands = done.stdout.replace(" \\\n ", "")
    assert f"bitfit-probe diff {bases('bert')} {out}" in commands
    card = json.loads((out / "run_card.json").read_text())
    assert card["settings"]["roles"] == ["q", "m2"]
    assert card["settings"]["seed"] == 3
    assert f"{card['trained']['parameters']:,} of" in done.stdout


def test_columns_can_be_named(bases, tmp_path):
    table = [{"a": row["text"], "b": row["label"], "text": "w1"} for row in rows(24)]
    data = write_csv(tmp_path / "odd.csv", table)
    run(
        "tune",
        bases("bert"),
        "--data",
        data,
        "-o",
        tmp_path / "out",
        "--text",
        "a",
        "--label",
        "b",
        "--epochs",
        1,
    )
    card = json.loads((tmp_path / "out" / "run_card.json").read_text())
    assert card["data"]["columns"] == {"text": "a", "pair": None, "label": "b"}
    assert card["data"]["labels"] == ["c0", "c1", "c2"]


def test_an_adapter_comes_with_how_to_merge_it(bases, task, tmp_path):
    out = tmp_path / "out"
    done = run("tune", bases("bert"), "--data", task, "-o", out, "--method", "lora", "--epochs", 1)
    assert "merge_and_unload" in done.stdout
    assert "num_labels=3" in done.stdout


def test_tune_refuses_in_one_line(bases, task, tmp_path, capsys):
    llama, bert = bases("llama"), bases("bert")
    capsys.readouterr()
    code, said = refused(capsys, "tune", llama, "--data", task, "-o", tmp_path / "out")
    assert code == 2
    assert said.startswith("error BE502: BitFit needs biases")
    assert len(said.splitlines()) == 1
    code, said = refused(capsys, "tune", bert, "--data", tmp_path / "no.csv", "-o", tmp_path / "out")
    assert (code, said[:12]) == (2, "error BE101:")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def pair(tmp_path):
    moved = move(state("bert"), *biases(state("bert")))
    config = model("bert").config.to_dict()
    return write(tmp_path / "base", state("bert"), config), write(tmp_path / "tuned", moved, config)


def test_a_patch_makes_its_round(pair, tmp_path):
    base, tuned = pair
    patch = tmp_path / "patch.safetensors"
    done = run("patch", "extract", base, tuned, "-o", patch)
    said = " ".join(done.stdout.split())
    assert f"{patch}: {patch.stat().st_size:,} bytes" in said
    assert "18 of the fine-tuned model's 41 tensors" in said
    assert "the base is the right one" in run("patch", "verify", base, patch).stdout
    assert "18 of them from the patch" in run("patch", "apply", base, patch, "-o", tmp_path / "again").stdout
    assert bp.diff(tuned, tmp_path / "again").comparisons[0].verdict == "identical"


def test_patch_refuses_in_one_line(pair, tmp_path, capsys):
    base, tuned = pair
    patch = tmp_path / "patch.safetensors"
    run("patch", "extract", base, tuned, "-o", patch)
    code, said = refused(capsys, "patch", "verify", tuned, patch)
    assert (code, said.split()[1], len(said.splitlines())) == (2, "BE601:", 1)
    patch.write_bytes(patch.read_bytes()[:-1])
    code, said = refused(capsys, "patch", "apply", base, patch, "-o", tmp_path / "again")
    assert (code, said.split()[1]) == (2, "BE602:")
    assert not (tmp_path / "again").exists()
