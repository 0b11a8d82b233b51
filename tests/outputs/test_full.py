"""A disk without room: one line, exit 2, and nothing left, whatever was to be written."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bitfit_probe as bp
from bitfit_probe import sample

#: A limit on the size of files fails a write as a full disk does, in the middle of it.
CODE = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
from bitfit_probe.cli import main
main(sys.argv[2:])
"""
LIGHT = [
    (100, "diff base tuned --format json --out o.json"),
    (3_000, "diff base tuned --plot o.svg"),
    (100, "diff base tuned --format json --out o.json --plot o.svg"),
    (100, "check base tuned --out o.txt"),
    (100, "report base tuned --no-spectra -o o.html"),
    (100, "demo -o d/e"),
    (3_000, "demo -o d"),
    (100, "patch extract base tuned -o o.safetensors"),
    (100, "patch apply base patch.safetensors -o again.safetensors"),
    (100_000, "patch apply base patch.safetensors -o a/again"),
]
HEAVY = [
    (100, "tune base --data data.csv -o a/t --epochs 1 --quiet"),
    (100_000, "tune base --data data.csv -o t --epochs 1 --quiet"),
    (100_000, "tune base --data data.csv -o t --epochs 1 --quiet --method lora"),
    (2_000_000, "tune base --data data.csv -o t --epochs 1 --quiet --method full"),
    (100, "distance base --data data.csv --no-reach --no-reference --quiet --out o.txt"),
    (100, "recommend base --data data.csv --no-reference --quiet --examples 20 --out o.txt"),
    (10, "recommend base --data data.csv --no-reference --quiet --examples 20 --trial 0.5 --work-dir w"),
]


@pytest.fixture
def world(tmp_path: Path) -> Path:
    shutil.copytree(sample.base_path(), tmp_path / "base")
    shutil.copytree(sample.tuned_path(), tmp_path / "tuned")
    bp.extract_patch(tmp_path / "base", tmp_path / "tuned", tmp_path / "patch.safetensors")
    rows = "".join(f"where is number {n} ?,{'ab'[n % 2]}\n" for n in range(60))
    (tmp_path / "data.csv").write_text("text,label\n" + rows)
    return tmp_path


@pytest.mark.parametrize(
    ("limit", "command"),
    [*LIGHT, *(pytest.param(*row, marks=pytest.mark.slow) for row in HEAVY)],
)
def test_no_room(world: Path, limit: int, command: str) -> None:
    before = sorted(world.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(limit), *command.split()],
        cwd=world,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stderr.splitlines()
    assert done.returncode == 2, done.stderr
    assert said[-1].startswith("error BE300: ")
    # Libraries underneath may warn of what they deprecate.
    assert len([line for line in said if line.startswith(("error", "Traceback"))]) == 1, done.stderr
    left = [path for path in sorted(world.rglob("*")) if path not in before]
    # A journal is kept empty, for the next try; a report may go to stdout before a demo's files fail.
    assert [str(path.relative_to(world)) for path in left] in ([], ["w", "w/trial.jsonl"])
    assert not any(path.stat().st_size for path in left if path.is_file())
