"""Every output has the modes that the umask leaves to new files and folders."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bitfit_probe import sample
from bitfit_probe.cli import main

COMMANDS = [
    "diff base tuned --format json --out o.json --plot o.svg",
    "check base tuned --fail-on never --out o.txt",
    "report base tuned --no-spectra -o o.html",
    "distance base --data data.csv --no-reach --no-reference --out o.txt",
    "recommend base --data data.csv --no-reference --examples 20 --out o.txt --trial 0.01 --work-dir w",
    "patch extract base tuned -o p.safetensors",
    "patch apply base p.safetensors -o a/b/again",
    "patch apply base p.safetensors -o again.safetensors",
    "tune base --data data.csv -o t --epochs 1 --max-length 16 --quiet --log-to tensorboard",
    "tune base --data data.csv -o l --epochs 1 --max-length 16 --quiet --method lora",
    "demo -o d/e",
]


@pytest.fixture
def private() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.slow
def test_a_umask_of_077_is_honoured_by_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, private: None
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(sample.base_path(), "base")
    shutil.copytree(sample.tuned_path(), "tuned")
    Path("data.csv").write_text(
        "text,label\n" + "".join(f"where is number {n} ?,{'ab'[n % 2]}\n" for n in range(60))
    )
    given = set(tmp_path.rglob("*"))
    for command in COMMANDS:
        with pytest.raises(SystemExit) as ended:
            main(command.split())
        assert not ended.value.code, command
    made = [path for path in tmp_path.rglob("*") if path not in given]
    modes = {path: path.stat().st_mode & 0o777 for path in made}
    assert {path: mode for path, mode in modes.items() if mode != (0o700 if path.is_dir() else 0o600)} == {}
    names = {str(path.relative_to(tmp_path)) for path in made}
    assert {"o.json", "o.svg", "o.html", "o.txt", "w/trial.jsonl", "p.safetensors", "d/e/diff.csv"} <= names
    assert {"a/b/again/model.safetensors", "t/model.safetensors", "l/adapter_model.safetensors"} <= names
    assert {path.name for path in tmp_path.iterdir()} == {
        *("base", "tuned", "data.csv", "o.json", "o.svg", "o.html", "o.txt", "w", "p.safetensors"),
        *("a", "again.safetensors", "t", "l", "d"),
    }
