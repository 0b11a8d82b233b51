"""Checkpoints that other libraries wrote: each is told what it is, and the advice was followed once.

`recorded/make_quantised.py` and `recorded/make_foreign.py` wrote them, and what the advice makes of them
(`*-plain.safetensors`), with the versions that stand in them.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.builders import compare, moved, row

from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.errors import NotFoundError, UnsupportedError

RECORDED = Path(__file__).parent / "recorded"
QUANTISED, FOREIGN = RECORDED / "quantised", RECORDED / "foreign"


# Quantised ----------------------------------------------------------------------------------------


def opened_values(path: Path) -> dict[str, np.ndarray]:
    return {name: tensor.values() for name, tensor in open_checkpoint(path).tensors.items()}


@pytest.mark.parametrize("name", ["bits8", "bits4", "bits4-double", "compressed-int4", "compressed-float8"])
def test_following_the_advice_gives_weights_and_leaves_biases_as_they_were(name: str) -> None:
    packed = load_file(QUANTISED / name / "model.safetensors")
    plain = opened_values(QUANTISED / f"{name}-plain.safetensors")
    assert set(plain) == {key for key in packed if key.endswith((".weight", ".bias"))} | {
        key.removesuffix("_packed") for key in packed if key.endswith("_packed")
    }
    biases = [key for key in plain if key.endswith(".bias")]
    assert biases
    assert all(np.array_equal(plain[key], packed[key]) for key in biases)


@pytest.mark.parametrize(
    ("name", "scale", "step"),
    # LLM.int8() keeps the largest of a row as 127 (Dettmers et al. 2022); compressed-tensors keeps a factor.
    [("bits8", ".SCB", 127), ("compressed-float8", ".weight_scale", 1)],
)
def test_following_the_advice_gives_the_stored_numbers_times_their_scales(
    name: str, scale: str, step: int
) -> None:
    packed = load_file(QUANTISED / name / "model.safetensors")
    plain = opened_values(QUANTISED / f"{name}-plain.safetensors")
    stems = [key.removesuffix(scale) for key in packed if key.endswith(scale)]
    assert stems
    for stem in stems:
        expected = packed[f"{stem}.weight"].double() * packed[stem + scale].double().view(-1, 1) / step
        np.testing.assert_allclose(plain[f"{stem}.weight"], expected, rtol=1e-6)


# TensorFlow, Keras, Flax, Orbax -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "what", "advice"),
    [
        ("tf-saver", "a TensorFlow checkpoint;", "load_tf_weights_in_bert"),
        ("tf-saver/bert_model.ckpt", "a TensorFlow checkpoint;", "load_tf_weights_in_bert"),
        ("tf-saver/bert_model.ckpt.index", "a TensorFlow checkpoint;", "load_tf_weights_in_bert"),
        ("tf-saver/bert_model.ckpt.data-00000-of-00001", "TensorFlow checkpoint;", "load_tf_weights_in_bert"),
        ("tf-saver-1", "a TensorFlow checkpoint;", "load_tf_weights_in_bert"),
        ("tf-objects", "a TensorFlow checkpoint of objects", "load_checkpoint"),
        ("tf-objects/ckpt-1", "a TensorFlow checkpoint of objects", "load_checkpoint"),
        ("tf-saved", "a TensorFlow SavedModel", "load_checkpoint"),
        ("tf-saved/saved_model.pb", "a TensorFlow SavedModel", "load_checkpoint"),
        ("tf-saved/variables", "a TensorFlow checkpoint of objects", "load_checkpoint"),
        ("tf-hdf5", "a TensorFlow model", "from_tf=True"),
        ("tf-hdf5/tf_model.h5", "a TensorFlow model", "from_tf=True"),
        ("keras", "a Keras model", "with keras"),
        ("keras/model.keras", "a Keras model", "with keras"),
        ("keras/model.weights.h5", "an HDF5 file", "with keras"),
        ("flax", "a Flax model", "from_flax=True"),
        ("flax/flax_model.msgpack", "a Flax model", "from_flax=True"),
        ("orbax/standard", "an Orbax checkpoint", "StandardCheckpointer"),
        ("orbax/standard/manifest.ocdbt", "an Orbax checkpoint", "StandardCheckpointer"),
        ("orbax/zarr", "an Orbax checkpoint", "StandardCheckpointer"),
        ("orbax/v1", "an Orbax checkpoint", "StandardCheckpointer"),
        ("orbax/v1/state", "an Orbax checkpoint", "StandardCheckpointer"),
        ("orbax/manager", "an Orbax checkpoint", "StandardCheckpointer"),
        ("orbax/manager/1", "an Orbax checkpoint", "StandardCheckpointer"),
    ],
)
def test_other_frameworks_are_named(name: str, what: str, advice: str) -> None:
    with pytest.raises(UnsupportedError, match=what) as e:
        open_checkpoint(FOREIGN / name)
    assert e.match(advice)


def test_a_name_that_begins_no_checkpoint_is_missing() -> None:
    with pytest.raises(NotFoundError):
        open_checkpoint(FOREIGN / "tf-saver" / "bert")


def test_both_formats_of_tensorflows_saver_become_the_same_model() -> None:
    new, old = (opened_values(FOREIGN / f"{name}-plain.safetensors") for name in ("tf-saver", "tf-saver-1"))
    assert new.keys() == old.keys()
    assert all(np.array_equal(new[name], old[name]) for name in new)
    # The data file is the variables' bytes one after the other; biases are random and not turned.
    data = (FOREIGN / "tf-saver" / "bert_model.ckpt.data-00000-of-00001").read_bytes()
    biases = [name for name in new if name.endswith(".bias")]
    assert len(biases) == 14
    assert all(new[name].astype("<f4").tobytes() in data for name in biases)


@pytest.mark.parametrize("kind", ["standard", "zarr", "v1", "manager"])
def test_orbax_restored_and_saved_as_advised_is_the_tree(kind: str) -> None:
    plain = opened_values(FOREIGN / f"orbax-{kind}-plain.safetensors")
    assert set(plain) == {"encoder.layer_0.bias", "encoder.layer_0.kernel"}
    assert plain["encoder.layer_0.kernel"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert plain["encoder.layer_0.bias"].tolist() == [1, 1, 1]


@pytest.mark.parametrize(("name", "biases"), [("flax", 10), ("tf-hdf5", 2)])
def test_what_transformers_converts_has_the_names_of_pytorch(name: str, biases: int) -> None:
    plain = opened_values(FOREIGN / f"{name}-plain.safetensors")
    assert sum(key.endswith(".bias") for key in plain) == biases
    assert "embeddings.LayerNorm.bias" in plain


@pytest.mark.parametrize(
    ("name", "bias"),
    [
        ("tf-objects", "model/bias/.ATTRIBUTES/VARIABLE_VALUE"),
        ("tf-saved", "bias/.ATTRIBUTES/VARIABLE_VALUE"),
        ("keras", "dense/bias"),
        ("orbax-standard", "encoder.layer_0.bias"),
    ],
)
def test_two_that_were_converted_as_advised_are_compared(tmp_path: Path, name: str, bias: str) -> None:
    base = load_file(FOREIGN / f"{name}-plain.safetensors")
    tuned = base | {bias: base[bias] + torch.tensor([0.0, 0.5, 0.0])}
    comparison = compare(tmp_path, base, tuned)
    assert moved(comparison) == {bias}
    assert row(comparison, bias).max_abs_delta == 0.5


def test_weights_of_pytorch_beside_those_of_another_framework_are_read(tmp_path: Path) -> None:
    shutil.copytree(FOREIGN / "tf-objects", tmp_path, dirs_exist_ok=True)
    shutil.copytree(FOREIGN / "keras", tmp_path, dirs_exist_ok=True)
    shutil.copytree(FOREIGN / "orbax" / "manager", tmp_path, dirs_exist_ok=True)
    torch.save({"w": torch.ones(2)}, tmp_path / "mine.pt")
    assert list(open_checkpoint(tmp_path).tensors) == ["w"]
