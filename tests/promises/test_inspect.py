"""``inspect`` and `bitfit_probe.inspect`: one checkpoint without a base."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from support.builders import State, config_of, model, state, write

import bitfit_probe as bp
from bitfit_probe.cli import run
from bitfit_probe.errors import NotFoundError
from bitfit_probe.measures.values import values_of


def saved(folder: Path, kind: str = "bert", tensors: State | None = None, name: str = "model") -> Path:
    classes = [type(model(kind)).__name__]
    return write(folder / name, tensors or state(kind), config_of(kind, architectures=classes))


def broken(path: Path) -> dict[str, str]:
    return {item.topic: item.severity for item in bp.inspect(path).promises.of("broken")}


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama", "t5", "vit", "distilbert"])
def test_what_was_saved_keeps_its_promises(tmp_path: Path, kind: str) -> None:
    found = bp.inspect(saved(tmp_path, kind))
    assert found.promises.of("broken") == found.promises.of("untold") == ()
    assert found.checkpoint.parameters == sum(tensor.numel() for tensor in state(kind).values())
    assert found.types == {"float32": found.checkpoint.parameters}


def test_figures_by_role_are_those_of_torch(tmp_path: Path) -> None:
    (row,) = (row for row in bp.inspect(saved(tmp_path)).roles if row.role == "q")
    queries = torch.cat([t.flatten() for n, t in state("bert").items() if "query" in n]).double()
    assert (row.tensors, row.parameters) == (4, queries.numel())
    assert row.rms == pytest.approx(float(queries.square().mean().sqrt()))
    assert row.max_abs == pytest.approx(float(queries.abs().max()))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch.pt"])
def test_numbers_that_are_none(tmp_path: Path, value: float, name: str) -> None:
    tensors = {key: tensor.clone() for key, tensor in state("bert").items()}
    tensors["bert.encoder.layer.1.output.dense.weight"][3, 4] = value
    assert broken(write(tmp_path / name, tensors)) == {"values": "error"}


def test_a_matrix_that_is_dead_and_one_that_is_clipped(tmp_path: Path) -> None:
    tensors = state("llama")
    down, up = "model.layers.0.mlp.down_proj.weight", "model.layers.1.mlp.up_proj.weight"
    tensors[down] = torch.zeros_like(tensors[down])
    tensors[up] = tensors[up].clamp(-0.05, 0.05)
    found = bp.inspect(saved(tmp_path, "llama", tensors)).promises.of("broken")
    assert [(item.subjects, item.severity) for item in found] == [
        ((down,), "warning"),
        ((up,), "warning"),
    ]


def test_values_are_read_in_blocks_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = torch.randn(100, 7)
    numbers[50, 3] = float("nan")
    path = write(tmp_path / "x.safetensors", {"w": numbers})
    tensor = bp.open_checkpoint(path).tensors["w"]
    whole = values_of(tensor, "weight")
    monkeypatch.setattr("bitfit_probe.measures.values._BLOCK", 64)
    blocks = values_of(tensor, "weight")
    finite = numbers[~numbers.isnan()].double().numpy()
    assert (whole.nonfinite, blocks.nonfinite) == (1, 1)
    assert (blocks.lowest, blocks.highest) == (finite.min(), finite.max()) == (whole.lowest, whole.highest)
    assert blocks.squares == pytest.approx(np.sum(finite**2)) == whole.squares
    assert blocks.total == pytest.approx(finite.sum())


def test_a_second_file_of_other_tensors_is_said_and_both_are_named(tmp_path: Path) -> None:
    path = saved(tmp_path)
    torch.save(state("bert") | {"more.weight": torch.ones(2)}, path / "pytorch_model.bin")
    found = bp.inspect(path)
    assert broken(path) == {"files": "warning"}
    assert (found.files, found.checkpoint.unread) == (("model.safetensors",), ("pytorch_model.bin",))


def test_the_class_itself_says_what_loading_does(tmp_path: Path) -> None:
    tensors = {n: t for n, t in state("llama").items() if "layers.1.mlp.up_proj" not in n}
    tensors |= {"model.norm.weight": torch.ones(5), "stray.weight": torch.ones(3)}
    found = bp.inspect(saved(tmp_path, "llama", tensors), build=True).promises.of("broken")
    said = {item.subjects: item.severity for item in found if item.topic == "class"}
    assert said == {
        ("model.layers.1.mlp.up_proj.weight",): "error",
        ("model.norm.weight",): "error",
        ("stray.weight",): "info",
    }


@pytest.mark.parametrize("kind", ["bert", "gpt2", "t5"])
def test_a_whole_checkpoint_fills_its_class(tmp_path: Path, kind: str) -> None:
    (item,) = (i for i in bp.inspect(saved(tmp_path, kind), build=True).promises.items if i.topic == "class")
    assert (item.state, item.found) == ("kept", "all of them, in their shapes")


def test_a_class_that_can_not_be_built_is_no_finding(tmp_path: Path) -> None:
    path = write(tmp_path / "m", state("bert"), config_of("bert", architectures=["NoSuchModel"]))
    (item,) = (i for i in bp.inspect(path, build=True).promises.items if i.topic == "class")
    assert (item.state, "NoSuchModel" in item.found) == ("untold", True)


def test_exit_status_and_both_formats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damaged = state("bert") | {"classifier.bias": torch.tensor([1.0, float("nan")])}
    good, bad = saved(tmp_path), saved(tmp_path, "bert", damaged, "bad")
    assert run(["inspect", str(good)]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert "0 broken" in text
    assert run(["inspect", str(bad), "--format", "json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["format_version"] == 1
    assert (document["promises"]["broken"], document["promises"]["items"][0]["topic"]) == (1, "values")
    assert run(["inspect", str(bad), "--fail-on", "never", "--quiet"]) == 0
    assert run(["inspect", str(tmp_path / "nothing")]) == 2


def test_what_can_not_be_read_is_raised(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        bp.inspect(tmp_path / "nothing")
