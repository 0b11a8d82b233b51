"""Folders in which no loader of transformers would find weights: exports, and files without a suffix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from safetensors.torch import save_file

import bitfit_probe
from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.checkpoint.registry import exported, formats, trained
from bitfit_probe.errors import AmbiguousError, EmptyError

VALUES = np.arange(6, dtype=np.float32)


def as_gguf(path: Path) -> None:
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_tensor("w", VALUES)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def as_onnx(path: Path) -> None:
    graph = helper.make_graph([], "g", [], [], initializer=[numpy_helper.from_array(VALUES, "w")])
    onnx.save(helper.make_model(graph), path)


def as_safetensors(path: Path) -> None:
    save_file({"w": torch.from_numpy(VALUES)}, path)


def as_torch(path: Path) -> None:
    torch.save({"w": torch.from_numpy(VALUES)}, path)


def as_legacy(path: Path) -> None:
    torch.save({"w": torch.from_numpy(VALUES)}, path, _use_new_zipfile_serialization=False)


EXPORTS = {"model.gguf": as_gguf, "model.onnx": as_onnx, "q8.gguf": as_gguf, "encoder.onnx": as_onnx}


@pytest.mark.parametrize("name", EXPORTS)
def test_a_folder_with_nothing_but_an_export_opens(tmp_path: Path, name: str) -> None:
    EXPORTS[name](tmp_path / name)
    (tmp_path / "config.json").write_text("{}")
    opened = open_checkpoint(tmp_path)
    assert [file.path.name for file in opened.files] == [name]
    assert opened.tensors["w"].values().tolist() == VALUES.tolist()
    assert bitfit_probe.diff(tmp_path, tmp_path / name).comparisons[0].verdict == "identical"


@pytest.mark.parametrize("name", ["model.safetensors", "adapter.bin", "best.pt"])
def test_what_was_trained_wins_over_its_exports(tmp_path: Path, name: str) -> None:
    (as_safetensors if name.endswith("safetensors") else as_torch)(tmp_path / name)
    as_gguf(tmp_path / "model.gguf")
    as_onnx(tmp_path / "model.onnx")
    opened = open_checkpoint(tmp_path)
    assert [file.path.name for file in opened.files] == [name]
    assert opened.siblings == ()
    assert opened.unread == ("model.gguf", "model.onnx")


def test_the_standard_name_settles_several_exports(tmp_path: Path) -> None:
    for name in ("q4.gguf", "q8.gguf"):
        as_gguf(tmp_path / name)
    with pytest.raises(AmbiguousError, match=r"q4\.gguf, q8\.gguf"):
        open_checkpoint(tmp_path)
    as_gguf(tmp_path / "model.gguf")
    assert open_checkpoint(tmp_path).files[0].path.name == "model.gguf"


@pytest.mark.parametrize("write", [as_safetensors, as_torch, as_legacy, as_gguf])
def test_one_file_without_a_suffix_is_known_by_its_bytes(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    write(tmp_path / "weights")
    for name in ("LICENSE", ".gitattributes", "optimizer"):
        # A brace where the header of a safetensors file would begin.
        (tmp_path / name).write_text("The MIT {license}")
    opened = open_checkpoint(tmp_path)
    assert [file.path.name for file in opened.files] == ["weights"]
    assert opened.tensors["w"].values().tolist() == VALUES.tolist()


def test_a_folder_of_texts_holds_no_weights(tmp_path: Path) -> None:
    (tmp_path / "LICENSE").write_text("The MIT {license}")
    with pytest.raises(EmptyError, match=r"no weight file"):
        open_checkpoint(tmp_path)


def test_two_files_without_a_suffix_are_ambiguous(tmp_path: Path) -> None:
    for name in ("step-1000", "step-2000"):
        as_torch(tmp_path / name)
    with pytest.raises(AmbiguousError, match=r"step-1000, step-2000"):
        open_checkpoint(tmp_path)


def test_the_order_is_that_of_transformers() -> None:
    from transformers.utils import (
        SAFE_WEIGHTS_INDEX_NAME,
        SAFE_WEIGHTS_NAME,
        WEIGHTS_INDEX_NAME,
        WEIGHTS_NAME,
    )

    order = (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME, WEIGHTS_NAME, WEIGHTS_INDEX_NAME)
    assert trained().standard == order


def test_no_suffix_belongs_to_two_formats_that_name_it_differently() -> None:
    namings = {known.NAMING for known in formats()}
    suffixes = [suffix for naming in namings for suffix in naming.suffixes]
    assert sorted(suffixes) == sorted(set(suffixes))
    assert {*trained().suffixes, *exported().suffixes} == set(suffixes)
