"""docs/patch.md shows what the commands print on the embedded sample, to the letter."""

from __future__ import annotations

import contextlib
import re
import shlex
from pathlib import Path

from bitfit_probe import sample
from bitfit_probe.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "patch.md"
_BLOCK = re.compile(r"<!-- sample: (?P<command>[^\n]+) -->\n```text\n(?P<output>.*?)```", re.DOTALL)


def test_outputs_are_the_program_s(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base").symlink_to(sample.base_path())
    (tmp_path / "tuned").symlink_to(sample.tuned_path())
    blocks = list(_BLOCK.finditer(PAGE.read_text("utf-8")))
    assert len(blocks) == 4
    for block in blocks:
        with contextlib.suppress(SystemExit):
            main(shlex.split(block["command"]))
        said = capsys.readouterr()
        assert said.out + said.err == block["output"]
