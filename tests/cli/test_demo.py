"""The demo: the embedded pair, offline, the same wherever the package is installed."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path

import pytest

from bitfit_probe import sample
from bitfit_probe.cli import cli

REPORTS = Path(__file__).parents[2] / "reports" / "sample"


def test_writes_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    cli.main(["demo", "-o", str(tmp_path / "out")], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "BitFit: 34 of 34 biases moved, nothing else; the head is new." in shown
    assert (tmp_path / "out" / "diff.txt").read_text("utf-8") == shown
    assert '<h1 class="cant-tell">' in (tmp_path / "out" / "report.html").read_text("utf-8")

    document = json.loads((tmp_path / "out" / "diff.json").read_text("utf-8"))
    (comparison,) = document["comparisons"]
    assert (comparison["verdict"], comparison["summary"]["offenders"]) == ("bitfit", [])
    assert (document["base"]["path"], comparison["tuned"]["path"]) == ("sample/base", "sample/tuned")
    with (tmp_path / "out" / "diff.csv").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == len(comparison["tensors"]) == 71

    assert (REPORTS / "diff.txt").read_text("utf-8") == shown  # as committed; `make samples` rebuilds it
    committed = json.loads((REPORTS / "diff.json").read_text("utf-8"))["comparisons"][0]["tensors"]
    for row, expected in zip(comparison["tensors"], committed, strict=True):
        for key, value in expected.items():  # processors differ in the last digits of a sum
            assert row[key] == (pytest.approx(value, rel=1e-9) if isinstance(value, float) else value)


def test_what_it_says_to_try_next_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    cli.main(["demo"], standalone_mode=False)
    commands = capsys.readouterr().err.partition("Try next:\n")[2].splitlines()
    assert len(commands) == 3
    for command in commands:
        program, *words = shlex.split(command)
        assert program == "bitfit-probe"
        assert not cli.main(words, standalone_mode=False)
    told = capsys.readouterr()
    assert "BP305 key-bias-noise (info)" in told.out
    size = (tmp_path / "page.html").stat().st_size
    assert f"Wrote page.html ({size / 1000:.0f} kB). Can't tell: " in told.err


def test_the_sample_is_what_its_card_says() -> None:
    """Independently of the diff: safetensors and numpy say that only biases and the head differ."""
    import numpy as np
    from safetensors.numpy import load_file

    card = json.loads((sample.base_path().parent / "card.json").read_text("utf-8"))
    base, tuned = (
        load_file(path / "model.safetensors") for path in (sample.base_path(), sample.tuned_path())
    )
    shared = base.keys() & tuned.keys()
    moved = {name for name in shared if not np.array_equal(base[name], tuned[name])}
    assert moved == {name for name in shared if name.endswith(".bias")}
    assert len(moved) == card["pair"]["biases_moved"] == 34
    assert sum(base[name].size for name in moved) == card["pair"]["bias_parameters"]
    assert card["model"]["parameters"] == sum(value.size for value in base.values())
