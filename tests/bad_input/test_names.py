"""Names from files that try to command a terminal, in files with which nothing else is wrong."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from bad_input.builders import safetensors
from safetensors.torch import save_file

from bitfit_probe.cli import run as _run

NAMES = [
    "layer\x1b[31m.0.bias",
    "layer\n0.bias",
    "\r\x1b]0;title\x07.bias",
    "layer\u202e.bias",
    "layer\x9b31m.bias",
]


@pytest.fixture(params=["safetensors", "zip", "legacy"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "base.bin", tmp_path / "tuned.bin"
    for moved, path in enumerate(paths):
        state = {name: torch.arange(4.0) + moved for name in NAMES} | {"dense.weight": torch.ones(4, 4)}
        if request.param == "safetensors":
            save_file(state, path)
        else:
            torch.save(state, path, _use_new_zipfile_serialization=request.param == "zip")
    return paths


def diff(capfd: pytest.CaptureFixture[str], *args: str | Path) -> str:
    assert _run(["diff", *map(str, args)]) == 0
    stdout, stderr = capfd.readouterr()
    assert stderr == ""
    return stdout


def test_text_writes_them_out(pair: tuple[Path, Path], capfd: pytest.CaptureFixture[str]) -> None:
    text = diff(capfd, *pair, "--by", "tensor")
    assert all(line.isprintable() for line in text.split("\n"))
    assert r"\x1b[31m" in text
    assert r"\u202e" in text
    assert r"\x9b31m" in text


def test_json_keeps_them_and_holds_no_raw_control(
    pair: tuple[Path, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    text = diff(capfd, *pair, "--format", "json")
    assert all(line.isprintable() for line in text.split("\n"))
    rows = json.loads(text)["comparisons"][0]["tensors"]
    assert {row["name"] for row in rows} == {*NAMES, "dense.weight"}


def test_csv_holds_no_raw_escape(pair: tuple[Path, Path], capfd: pytest.CaptureFixture[str]) -> None:
    text = diff(capfd, *pair, "--format", "csv")
    assert "\x1b" not in text
    assert len(list(csv.DictReader(io.StringIO(text)))) == len(NAMES) + 1


@pytest.mark.parametrize("form", ["text", "json", "csv"])
def test_names_that_are_no_unicode(form: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    # JSON can spell half of a pair of surrogates, which no encoding can write.
    header = {"a\ud800.bias": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}
    paths = [
        safetensors(tmp_path / f"{fill}.safetensors", header, bytes([0, 0, fill, 64] * 4)) for fill in (0, 1)
    ]
    assert "d800" in diff(capfd, *paths, "--format", form)
    diff(capfd, *paths, "--format", form, "--out", tmp_path / "out")
    assert "d800" in (tmp_path / "out").read_text(encoding="utf-8")


def test_an_error_writes_them_out(tmp_path: Path, refused: Callable[..., str]) -> None:
    header = {NAMES[0]: {"dtype": "F32", "shape": [-1], "data_offsets": [0, 16]}}
    assert r"\x1b[31m" in refused(safetensors(tmp_path / "x.safetensors", header), "BE107")
    torch.save({NAMES[0]: {"w": torch.ones(1)}, NAMES[1]: {"w": torch.ones(1)}}, tmp_path / "x.pt")
    assert r"\x1b[31m" in refused(tmp_path / "x.pt", "BE112")


FORMULAS = ["=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(A1)", " =1+1", "\uff1d1+1"]
FORMULAS += [f"{control}=1+1" for control in "\t\r\n"]


def test_no_cell_of_csv_is_a_formula(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    paths = [tmp_path / "base.safetensors", tmp_path / "=tuned.safetensors"]
    for moved, path in enumerate(paths):
        save_file({name: torch.arange(4.0) + moved for name in FORMULAS}, path)
    rows = list(csv.DictReader(io.StringIO(diff(capfd, *paths, "--format", "csv"))))
    assert len(rows) == len(FORMULAS)
    for cell in (cell for row in rows for cell in row.values()):
        assert not cell.lstrip().startswith(("=", "+", "@", "\t", "\r", "\n", "\uff1d"))
        assert not cell.lstrip().startswith("-") or float(cell) < 0
