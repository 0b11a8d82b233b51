"""README and docs show what the commands print, to the letter."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from bitfit_probe.cli import cli

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"<!-- output: (?P<command>[^\n]+) -->\n```text\n(?P<output>.*?)```", re.DOTALL)


@pytest.mark.parametrize("page", ["README.md", "docs/ranking.md"])
def test_outputs_shown(
    page: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "80")
    blocks = list(_BLOCK.finditer((ROOT / page).read_text("utf-8")))
    assert blocks
    for block in blocks:
        cli.main(shlex.split(block["command"]), standalone_mode=False)
        assert capsys.readouterr().out == block["output"]
