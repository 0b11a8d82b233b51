"""ONNX models that torch and the onnx library write."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from support.builders import model, state, write

import bitfit_probe
from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.errors import CorruptError, EscapesError, MissingShardError, UnsupportedError

VALUES = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)


def saved(path: Path, *tensors: Any, **options: Any) -> Path:
    graph = helper.make_graph([], "g", [], [], initializer=list(tensors))
    onnx.save(helper.make_model(graph), path, **options)
    return path


def exported(path: Path, kind: str) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ids = torch.ones(1, 4, dtype=torch.long)
        torch.onnx.export(model(kind), (ids,), str(path), dynamo=False)
    return path


def test_an_exported_model_is_its_source_turned_matrices_included(tmp_path: Path) -> None:
    base = write(tmp_path / "base.safetensors", state("bert"))
    (comparison,) = bitfit_probe.diff(base, exported(tmp_path / "x.onnx", "bert")).comparisons
    assert comparison.verdict == "identical"
    assert comparison.summary.judged_by["compared"] == len(state("bert"))


DTYPES = {
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "float16": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16,
    "int64": TensorProto.INT64,
    "int8": TensorProto.INT8,
    "bool": TensorProto.BOOL,
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["raw", "packed"])
def test_element_types_raw_and_packed(tmp_path: Path, dtype: str, form: str) -> None:
    want = torch.from_numpy(VALUES).mul(3).to(getattr(torch, dtype))
    if form == "raw":
        raw = want.contiguous().view(torch.uint8).numpy().tobytes()
        tensor = helper.make_tensor("w", DTYPES[dtype], [5, 4], raw, raw=True)
    else:
        tensor = helper.make_tensor("w", DTYPES[dtype], [5, 4], want.double().flatten().tolist())
    (got,) = open_checkpoint(saved(tmp_path / "x.onnx", tensor)).tensors.values()
    assert got.dtype.name == dtype
    np.testing.assert_array_equal(got.values(), want.double().numpy())


def test_external_data_beside_the_model(tmp_path: Path) -> None:
    tensors = [numpy_helper.from_array(VALUES, "a"), numpy_helper.from_array(2 * VALUES, "b")]
    path = saved(
        tmp_path / "x.onnx", *tensors, save_as_external_data=True, location="x.bin", size_threshold=0
    )
    opened = open_checkpoint(path)
    assert opened.format == "ONNX, 1 external files"
    np.testing.assert_array_equal(opened.tensors["b"].values(), 2 * VALUES)
    (tmp_path / "x.bin").unlink()
    with pytest.raises(MissingShardError, match=r"'x\.bin'"):
        open_checkpoint(path)


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "a/../../b"])
def test_external_data_outside_the_directory_is_refused(tmp_path: Path, location: str) -> None:
    tensor = numpy_helper.from_array(VALUES, "a")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    with pytest.raises(EscapesError):
        open_checkpoint(saved(tmp_path / "x.onnx", tensor))


def test_strings_and_cut_files_are_said(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="element type 8"):
        open_checkpoint(saved(tmp_path / "s.onnx", helper.make_tensor("s", TensorProto.STRING, [1], [b"x"])))
    whole = saved(tmp_path / "x.onnx", numpy_helper.from_array(VALUES, "a")).read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[:-30])
    with pytest.raises(CorruptError, match="ends too early"):
        open_checkpoint(tmp_path / "cut.onnx")
    short = numpy_helper.from_array(VALUES, "a")
    short.dims[0] = 50
    with pytest.raises(CorruptError, match="beyond its storage"):
        open_checkpoint(saved(tmp_path / "short.onnx", short))


# Constant nodes and subgraphs -----------------------------------------------------------------------


def constant(name: str, values: Any) -> Any:
    tensor = numpy_helper.from_array(np.asarray(values), "")
    return helper.make_node("Constant", [], [name], value=tensor)


def branch(name: str, *nodes: Any, initializer: Any = ()) -> Any:
    return helper.make_graph(list(nodes), name, [], [], initializer=list(initializer))


def graph_file(path: Path, *nodes: Any) -> Path:
    onnx.save(helper.make_model(helper.make_graph(list(nodes), "g", [], [])), path)
    return path


def test_weights_in_constants_and_branches_have_names_of_their_own(tmp_path: Path) -> None:
    inner = helper.make_node("If", ["d"], ["y"], then_branch=branch("i", constant("w", VALUES * 4)))
    path = graph_file(
        tmp_path / "x.onnx",
        constant("outside", VALUES),
        helper.make_node(
            "If",
            ["c"],
            ["out"],
            name="choice",
            then_branch=branch("t", constant("w", VALUES * 2), inner),
            else_branch=branch("e", initializer=[numpy_helper.from_array(VALUES * 3, "w")]),
        ),
        helper.make_node("Loop", ["n", "c"], ["turns"], body=branch("b", constant("w", VALUES * 5))),
    )
    opened = open_checkpoint(path)
    factors = {
        "outside": 1,
        "choice.then_branch.w": 2,
        "choice.else_branch.w": 3,
        "choice.then_branch.y.then_branch.w": 4,
        "turns.body.w": 5,
    }
    assert set(opened.tensors) == set(factors)
    for name, factor in factors.items():
        np.testing.assert_array_equal(opened.tensors[name].values(), VALUES * np.float32(factor))


def test_constants_that_are_settings_are_no_weights(tmp_path: Path) -> None:
    axes, epsilon = constant("axes", np.arange(3)), constant("epsilon", np.float32(1e-5))
    path = graph_file(tmp_path / "x.onnx", axes, epsilon, constant("w", VALUES))
    assert list(open_checkpoint(path).tensors) == ["w"]


def test_graphs_nested_without_end_are_refused(tmp_path: Path) -> None:
    node = constant("w", VALUES)
    for level in range(30):
        node = helper.make_node("If", ["c"], [f"y{level}"], then_branch=branch(f"g{level}", node))
    with pytest.raises(CorruptError, match="graphs within graphs"):
        open_checkpoint(graph_file(tmp_path / "x.onnx", node))
