"""``bitfit-probe report``: a page in a file, Markdown anywhere, nothing half done."""

from __future__ import annotations

import hashlib
import json
import re

import click
import pytest

from bitfit_probe import sample
from bitfit_probe.cli import cli
from bitfit_probe.errors import NotFoundError, OverwriteError

PAIR = [str(sample.base_path()), str(sample.tuned_path())]
VERDICT = "BitFit: 34 of 34 biases moved, nothing else; the head is new."


def run(*args: object) -> None:
    cli.main(["report", *map(str, args)], standalone_mode=False)


def test_a_page_with_the_figures_and_the_bytes_it_looked_at(tmp_path, capsys):
    run(*PAIR, "-o", tmp_path / "report.html")
    assert capsys.readouterr().out == ""
    text = (tmp_path / "report.html").read_text("utf-8")
    assert VERDICT in text
    data = json.loads(re.search(r'id="report-data">(.*?)</script>', text, re.DOTALL)[1])
    assert data["comparisons"][0]["verdict"] == "bitfit"
    digests = {item["sha256"] for item in data["files"]}
    assert digests == {
        hashlib.sha256((path / "model.safetensors").read_bytes()).hexdigest()
        for path in (sample.base_path(), sample.tuned_path())
    }


def test_markdown_goes_to_stdout_or_a_file(tmp_path, capsys):
    run(*PAIR, "--format", "md", "--no-spectra")
    shown = capsys.readouterr().out
    assert f"**{VERDICT}**" in shown
    run(*PAIR, "--format", "md", "--no-spectra", "--out", tmp_path / "a.md")
    assert (tmp_path / "a.md").read_text("utf-8") == shown


def test_a_page_needs_a_file():
    with pytest.raises(click.UsageError, match=r"-o report\.html"):
        run(*PAIR)


def test_bad_input_writes_nothing(tmp_path):
    with pytest.raises(NotFoundError):
        run(PAIR[0], tmp_path / "none", "-o", tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_an_input_is_never_overwritten(tmp_path):
    import shutil

    tuned = shutil.copytree(PAIR[1], tmp_path / "tuned")
    (tuned / "report.html").write_text("mine")
    with pytest.raises(OverwriteError):
        run(PAIR[0], tuned, "-o", tuned / "report.html")
    assert (tuned / "report.html").read_text() == "mine"


def test_several_checkpoints_stand_side_by_side(tmp_path, capsys):
    run(PAIR[0], PAIR[1], PAIR[0], "--format", "md", "--no-spectra")
    shown = capsys.readouterr().out
    assert "2 fine-tuned checkpoints" in shown
    assert shown.index("2 fine-tuned checkpoints") < shown.index("## How good is it?")
    assert shown.count("### Fine-tuning, read from the weights") == 2
