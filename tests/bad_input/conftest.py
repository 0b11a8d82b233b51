"""The command line around one bad file."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bitfit_probe.cli import run as _run

Refuse = Callable[..., str]


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A checkpoint with which nothing is wrong."""
    path = tmp_path / "good.pt"
    torch.save({"layer.bias": torch.arange(4.0), "layer.weight": torch.ones(4, 4)}, path)
    return path


@pytest.fixture
def refused(good: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Refuse:
    """Give a path to ``diff`` on either side, and assert all that DESIGN.md, section 5, promises."""

    def check(path: Path, *codes: str, named: str | None = None, options: tuple[str, ...] = ()) -> str:
        told = []
        for sides in ((good, path), (path, good)):
            out = tmp_path / "result.json"
            before = set(tmp_path.rglob("*"))
            args = ["diff", *map(str, sides), "--format", "json", "--out", str(out), *options]
            status = _run(args)
            stdout, stderr = capfd.readouterr()
            assert status == 2
            assert stdout == ""
            assert stderr.endswith("\n")
            assert stderr[:-1].isprintable(), "one line, without anything that a terminal obeys"
            found = re.match(r"error (BE\d{3}): (.*); (.+)", stderr)
            assert found, stderr
            assert found[1] in codes, stderr
            assert (path.name if named is None else named) in found[2], "the file is named"
            assert set(tmp_path.rglob("*")) == before, "nothing is written"
            told.append(stderr)
        assert told[0] == told[1]
        return told[0]

    return check
