"""No command writes over what it reads, or over another output of its own."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import bitfit_probe as bp
from bitfit_probe import sample
from bitfit_probe.cli import main
from bitfit_probe.errors import OutputError, OverwriteError
from bitfit_probe.outputs import refuse_overlap

DATA = "text,label\n" + "".join(f"where is number {n} ?,{'ab'[n % 2]}\n" for n in range(40))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of every kind of input; `snapshot` links into `blobs`, as the Hub's cache does."""
    root = tmp_path_factory.mktemp("world")
    shutil.copytree(sample.base_path(), root / "base")
    shutil.copytree(sample.tuned_path(), root / "tuned")
    (root / "data.csv").write_text(DATA)
    (root / "words.txt").write_text("some words\nand others\n")
    bp.extract_patch(root / "base", root / "tuned", root / "patch.safetensors")
    (root / "snapshot").mkdir()
    (root / "blobs").mkdir()
    for file in (root / "base").iterdir():
        shutil.copyfile(file, root / "blobs" / file.name)
        (root / "snapshot" / file.name).symlink_to(root / "blobs" / file.name)
    (root / "sharded").mkdir()
    save_file({"layer.bias": torch.ones(3)}, root / "sharded/one.safetensors")
    (root / "sharded/x.index.json").write_text('{"weight_map": {"layer.bias": "one.safetensors"}}')
    (root / "link.json").symlink_to(root / "tuned/config.json")
    (root / "hard.safetensors").hardlink_to(root / "tuned/model.safetensors")
    (root / "adapter").mkdir()
    (root / "adapter/adapter_config.json").write_text("{}")
    (root / "work").mkdir()
    (root / "work/trial.jsonl").write_text('{"text": "where ?", "label": "a"}\n')
    return root


def digest(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


#: Command, the output that it may not write, and what that output is.
TABLE = [
    ("diff base tuned --out {}", "base/model.safetensors", "a weights file"),
    ("diff base tuned --out {}", "tuned/config.json", "a folder's config"),
    ("diff base tuned --out {}", "link.json", "a link to it"),
    ("diff base tuned --out {}", "hard.safetensors", "another name of it"),
    ("diff base tuned --out {}", "base/../tuned/config.json", "a way round"),
    ("diff base/model.safetensors tuned --out {}", "base/config.json", "what lies beside a file"),
    ("diff base/model.safetensors tuned --out {}", "base/tokenizer.json", "a tokenizer beside a file"),
    ("diff sharded/x.index.json tuned --out {}", "sharded/one.safetensors", "a shard"),
    ("diff sharded/x.index.json tuned --out {}", "sharded/x.index.json", "an index"),
    ("diff snapshot tuned --out {}", "blobs/config.json", "what a snapshot links to"),
    ("diff snapshot/model.safetensors tuned --out {}", "blobs/config.json", "what lies beside a link"),
    ("diff base tuned --spectra --adapter adapter --out {}", "adapter/adapter_config.json", "an adapter"),
    ("diff base tuned --data data.csv --out {}", "data.csv", "examples"),
    ("diff base tuned --out {}", "base/pytorch_model.bin", "a file that would be read instead"),
    ("diff base tuned --plot {}.svg --out o", "base/figure", "a figure in an input"),
    ("check base tuned --out {}", "tuned/model.safetensors", "a weights file"),
    ("check base tuned --data data.csv --out {}", "data.csv", "examples"),
    ("report base tuned -o {}", "tuned/config.json", "a folder's config"),
    ("report base tuned --data data.csv -o {}", "data.csv", "examples"),
    ("distance base --data data.csv --out {}", "data.csv", "examples"),
    ("distance base --data data.csv --reference words.txt --out {}", "words.txt", "texts"),
    ("distance base --data data.csv --tuned tuned --out {}", "tuned/model.safetensors", "a tuned one"),
    ("recommend base --data data.csv --out {}", "base/config.json", "a folder's config"),
    ("recommend base --data data.csv --tuned tuned --out {}", "tuned/config.json", "a tuned one"),
    (
        "recommend base --data work/trial.jsonl --trial 1 --work-dir {}",
        "work",
        "the journal over examples",
    ),
    ("tune base --data data.csv -o {}", "data.csv", "examples"),
    ("tune base --data data.csv -o {}", "base", "the base"),
    ("patch extract base tuned -o {}", "tuned/config.json", "a folder's config"),
    ("patch extract base tuned -o {}", "base/model.safetensors", "a weights file"),
    ("patch extract base/model.safetensors tuned -o {}", "base/config.json", "what lies beside a file"),
    ("patch extract snapshot tuned -o {}", "blobs/model.safetensors", "what a snapshot links to"),
    ("patch apply base patch.safetensors -o {}", "patch.safetensors", "the patch"),
    ("patch apply base patch.safetensors -o {}", "base/model.safetensors", "a weights file"),
    ("patch apply base patch.safetensors -o {}", "base", "the base"),
    ("patch apply snapshot patch.safetensors -o {}", "blobs/model.safetensors", "what a snapshot links to"),
]


@pytest.mark.parametrize(("command", "out", "what"), TABLE)
def test_no_command_writes_over_an_input(
    world: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    out: str,
    what: str,
) -> None:
    monkeypatch.chdir(world)
    if command.endswith("--plot {}.svg --out o"):
        (world / "base/figure.svg").write_text("")
    before = digest(world)
    with pytest.raises(SystemExit) as ended:
        main(command.format(out).split())
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    assert said.err.startswith("error BE301: ")
    assert said.err.count("\n") == 1
    assert digest(world) == before, what


@pytest.mark.parametrize("other", ["x.svg", "./x.svg", "sub/../x.svg", "link.svg"])
def test_two_outputs_are_two_files(
    world: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    other: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "x.svg").write_text("before")
    (tmp_path / "link.svg").symlink_to("x.svg")
    with pytest.raises(SystemExit) as ended:
        main(["diff", str(world / "base"), str(world / "tuned"), "--plot", "x.svg", "--out", other])
    assert ended.value.code == 2
    assert "is named for two outputs" in capsys.readouterr().err
    assert (tmp_path / "x.svg").read_text() == "before"


def test_the_journal_is_an_output_too(
    world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(world)
    command = "recommend base --data data.csv --trial 1 --work-dir work --out work/trial.jsonl"
    with pytest.raises(SystemExit):
        main(command.split())
    assert "is named for two outputs" in capsys.readouterr().err


def test_what_is_no_input_may_be_written(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    weights = tmp_path / "model/a.safetensors"
    for path in (weights, tmp_path / "model/report.json"):
        path.write_text("x")
    # A report beside a weights file, even a second time; a new one in a folder; what no path is.
    refuse_overlap([tmp_path / "model/report.json"], [weights])
    refuse_overlap([tmp_path / "model/new.json"], [tmp_path / "model", Path("org/name"), Path("https:/x/y")])
    refuse_overlap([tmp_path / "config.json"], [weights])


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to(path.parent)])
def test_a_folder_is_no_file_to_write(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "out")
    with pytest.raises(OutputError, match="no regular file"):
        refuse_overlap([tmp_path / "out"], [])


def test_an_empty_folder_may_become_the_result_and_a_link_to_one_may_not(tmp_path: Path) -> None:
    base, tuned = sample.base_path(), sample.tuned_path()
    patch = bp.extract_patch(base, tuned, tmp_path / "patch.safetensors").path
    for name in ("empty", "target"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    bp.apply_patch(base, patch, tmp_path / "empty")
    assert (tmp_path / "empty/model.safetensors").is_file()
    with pytest.raises(OverwriteError):
        bp.apply_patch(base, patch, tmp_path / "link")
