"""``diff --plot``: a figure as SVG or PNG, whole or not at all."""

from __future__ import annotations

import sys
from xml.etree import ElementTree

import click
import pytest

from bitfit_probe import sample
from bitfit_probe.cli import cli
from bitfit_probe.errors import MissingExtraError, OutputError, OverwriteError

PAIR = [str(sample.base_path()), str(sample.tuned_path())]


def run(*args: object) -> None:
    cli.main(["diff", *map(str, args)], standalone_mode=False)


def test_svg_holds_the_figures_that_the_text_shows(tmp_path, capsys):
    run(*PAIR, "--plot", tmp_path / "a.svg")
    shown = capsys.readouterr().out
    run(*PAIR)
    assert shown == capsys.readouterr().out
    drawn = [
        "".join(text.itertext())
        for text in ElementTree.parse(tmp_path / "a.svg").iter("{http://www.w3.org/2000/svg}text")
    ]
    row = next(line.split() for line in shown.splitlines() if line.startswith("q "))
    assert set(row) <= set(drawn)


def test_png_is_one(tmp_path):
    run(*PAIR, "--plot", tmp_path / "a.PNG")
    assert (tmp_path / "a.PNG").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_another_ending_is_wrong_usage(tmp_path):
    with pytest.raises(click.BadParameter, match=r"must end in \.svg or \.png"):
        run(*PAIR, "--plot", tmp_path / "a.pdf")


def test_nothing_moved_is_said_and_nothing_written(tmp_path, capsys):
    with pytest.raises(OutputError, match="nothing to draw"):
        run(PAIR[0], PAIR[0], "--plot", tmp_path / "a.svg")
    assert capsys.readouterr().out == ""
    assert list(tmp_path.iterdir()) == []


def test_an_input_is_never_overwritten(tmp_path):
    import shutil

    copy = shutil.copytree(PAIR[0], tmp_path / "base")
    (copy / "figure.svg").write_text("mine")
    with pytest.raises(OverwriteError):
        run(copy, PAIR[1], "--plot", copy / "figure.svg")
    assert (copy / "figure.svg").read_text() == "mine"


def test_without_seaborn_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "seaborn", None)
    with pytest.raises(MissingExtraError, match=r"bitfit-probe\[report\]"):
        run(*PAIR, "--plot", tmp_path / "a.svg")
    assert list(tmp_path.iterdir()) == []
