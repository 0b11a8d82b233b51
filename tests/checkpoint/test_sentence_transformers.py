"""Folders of sentence-transformers: every module that modules.json lists is part of the model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support.builders import State, move, state, write
from support.pairs import config

import bitfit_probe
from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.errors import EscapesError
from bitfit_probe.records import Comparison
from bitfit_probe.rendering.headline import headline

DENSE = {"linear.weight": torch.ones(5, 8), "linear.bias": torch.zeros(5)}
KINDS = {"": "Transformer", "0_Transformer": "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense"}


def encoder() -> State:
    """A bare model, as the first module saves it."""
    return {
        name.removeprefix("bert."): value for name, value in state("bert").items() if name.startswith("bert.")
    }


def saved(folder: Path, listed: list[str], weights: dict[str, State]) -> Path:
    """A folder as SentenceTransformer.save writes it, newer or older layout."""
    folder.mkdir()
    for path, tensors in weights.items():
        write(folder / path, tensors, config("bert-mlm") if KINDS[path] == "Transformer" else {})
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text("{}")
    modules = [{"path": path, "type": f"sentence_transformers.models.{KINDS[path]}"} for path in listed]
    (folder / "modules.json").write_text(json.dumps(modules))
    return folder


@pytest.fixture(params=["", "0_Transformer"], ids=["newer", "older"])
def first(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def compare(tmp_path: Path, first: str, tuned: dict[str, State], listed: list[str]) -> Comparison:
    whole = [first, "1_Pooling", "2_Dense"]
    base = saved(tmp_path / "base", whole, {first: encoder(), "2_Dense": DENSE})
    return bitfit_probe.diff(base, saved(tmp_path / "tuned", listed, tuned)).comparisons[0]


def test_a_dense_that_was_trained_alone(tmp_path: Path, first: str):
    tuned = {first: encoder(), "2_Dense": {name: value + 0.5 for name, value in DENSE.items()}}
    found = compare(tmp_path, first, tuned, [first, "1_Pooling", "2_Dense"])
    assert {row.name for row in found.tensors if row.moved} == {f"2_Dense.{name}" for name in DENSE}
    assert found.verdict == "partial"
    assert {row.info.role for row in found.tensors if row.moved} == {"projection"}
    assert found.tuned.unread == ()
    said = bitfit_probe.check(tmp_path / "base", tmp_path / "tuned").findings
    assert "BP202" not in {item.code for item in said}  # the body was frozen on purpose


def test_a_dense_that_was_lost(tmp_path: Path, first: str):
    base = encoder()
    tuned = move(base, *[name for name in base if name.endswith("bias")])
    listed = [first, "1_Pooling", "2_Dense"]
    found = compare(tmp_path, first, {first: tuned}, listed)
    assert {item.name for item in found.unmatched_base} == {"2_Dense.linear.weight", "2_Dense.linear.bias"}
    assert found.tuned.notes == ("modules.json lists 2_Dense, of which there are no weights",)


def test_the_config_is_that_of_the_first_module(tmp_path: Path, first: str):
    folder = saved(tmp_path / "model", [first, "2_Dense"], {first: encoder(), "2_Dense": DENSE})
    assert open_checkpoint(folder).config["model_type"] == "bert"


def test_a_head_of_setfit_is_named_and_not_opened(tmp_path: Path):
    folder = saved(tmp_path / "model", ["", "1_Pooling"], {"": encoder()})
    (folder / "model_head.pkl").write_bytes(b"cos\nsystem\n")
    assert open_checkpoint(folder).unread == ("model_head.pkl",)


def test_modules_outside_the_folder_are_refused(tmp_path: Path):
    folder = saved(tmp_path / "model", [""], {"": encoder()})
    (folder / "modules.json").write_text(json.dumps([{"path": ""}, {"path": "../elsewhere"}]))
    with pytest.raises(EscapesError):
        open_checkpoint(folder)


@pytest.mark.parametrize("odd", ["", "{}", "[1, null]", '[{"path": 3}]', "[" * 100])
def test_what_is_no_list_of_modules_is_left_alone(tmp_path: Path, odd: str):
    folder = saved(tmp_path / "model", [""], {"": encoder()})
    (folder / "modules.json").write_text(odd)
    assert len(open_checkpoint(folder).tensors) == len(encoder())


def test_a_dense_that_was_trained_with_the_biases_is_their_head(tmp_path: Path, first: str):
    """As a classifier's head would be; a matrix of the encoder stays an offender."""
    biases = [name for name in encoder() if name.endswith("bias")]
    matrix = "encoder.layer.1.output.dense.weight"
    dense = {name: value + 0.5 for name, value in DENSE.items()}
    listed = [first, "1_Pooling", "2_Dense"]
    found = compare(tmp_path, first, {first: move(encoder(), *biases), "2_Dense": dense}, listed)
    assert (found.verdict, found.summary.offenders) == ("bitfit", ())
    said = bitfit_probe.check(tmp_path / "base", tmp_path / "tuned").findings
    assert "BP301" not in {item.code for item in said}
    assert "nothing else but what follows the pooling (2_Dense)" in headline(found)

    other = saved(tmp_path / "other", listed, {first: move(encoder(), *biases, matrix), "2_Dense": dense})
    (item,) = (item for item in bitfit_probe.check(tmp_path / "base", other).findings if item.code == "BP301")
    assert item.subjects == (matrix,)
