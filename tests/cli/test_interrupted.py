"""Outputs are whole or absent, whatever ends the process: a kill, a full disk, a limit."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bitfit_probe.outputs import staging, write_files

#: Writes two texts in turns, forever, and says after how many writes it is.
WRITER = """
import sys
from pathlib import Path
from bitfit_probe.outputs import write_files
out, number = Path(sys.argv[1]), 0
while True:
    write_files([(out, "ab"[number % 2] * 300_000)], ())
    number += 1
    print(number, flush=True)
"""
SIZE = 300_000


@pytest.mark.parametrize("writes", [1, 2, 3, 5, 8, 13])
def test_killed_while_it_writes(tmp_path: Path, writes: int) -> None:
    out = tmp_path / "result.txt"
    with subprocess.Popen([sys.executable, "-c", WRITER, out], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(writes):
            process.stdout.readline()
        process.kill()  # somewhere within the next write
    assert out.read_text() in ("a" * SIZE, "b" * SIZE)
    for left in tmp_path.iterdir():  # at most a whole text that was about to take the name
        assert left.read_text() in ("a" * SIZE, "b" * SIZE)


def pair(folder: Path) -> list[str]:
    names = []
    for moved in range(2):
        path = folder / f"{moved}.safetensors"
        save_file({f"layer.{n}.bias": torch.full((4,), float(moved)) for n in range(50)}, path)
        names.append(str(path))
    return names


@pytest.mark.parametrize("nameless", [True, False])
@pytest.mark.parametrize("before", [None, "older"])
def test_no_room_for_the_output(tmp_path: Path, before: str | None, nameless: bool) -> None:
    # A limit on the size of files fails a write as a full disk does, in the middle of it.
    names, out = pair(tmp_path), tmp_path / "result.json"
    if before is not None:
        out.write_text(before)
    code = (
        "import resource, signal, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "from bitfit_probe.cli import main\n"
        "from bitfit_probe.outputs import staging\n"
        f"{'' if nameless else 'staging._nameless = lambda folder: None'}\n"
        "main(sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", code, "diff", *names, "--format", "json", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error BE300: {out}: can't be written (File too large); check the directory and its space\n"
    )
    assert (out.read_text() if out.exists() else None) == before
    assert sorted(path.name for path in tmp_path.iterdir() if path != out) == sorted(
        Path(name).name for name in names
    )


def test_a_file_system_without_nameless_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "_nameless", lambda folder: None)
    out = tmp_path / "result.txt"
    old = os.umask(0o027)
    try:
        write_files([(out, "text")], ())
    finally:
        os.umask(old)
    assert out.read_text() == "text"
    assert out.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [out]


def test_the_limit_is_not_that_of_the_tests() -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] in (resource.RLIM_INFINITY, 2**63 - 1)
