"""Formats that are recognised and not read: each says what it is, and what to run instead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file as save_numpy
from safetensors.torch import save_file
from support.builders import model

from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.errors import UnsupportedError

STEM = "model.layers.0.self_attn.q_proj"
PACKED: dict[str, tuple[dict[str, torch.Tensor], str, str]] = {
    # The names and element types that each library writes for one linear layer.
    "bitsandbytes-8": (
        {f"{STEM}.weight": torch.ones(4, 4, dtype=torch.int8), f"{STEM}.SCB": torch.ones(4)},
        "bitsandbytes",
        r"dequantize\(\)",
    ),
    "bitsandbytes-4": (
        {
            f"{STEM}.weight": torch.ones(8, 1, dtype=torch.uint8),
            f"{STEM}.weight.absmax": torch.ones(1),
            f"{STEM}.weight.quant_map": torch.ones(16),
            f"{STEM}.weight.quant_state.bitsandbytes__nf4": torch.ones(9, dtype=torch.uint8),
        },
        "bitsandbytes",
        r"dequantize\(\)",
    ),
    "gptq": (
        {
            f"{STEM}.qweight": torch.ones(1, 4, dtype=torch.int32),
            f"{STEM}.qzeros": torch.ones(1, 1, dtype=torch.int32),
            f"{STEM}.scales": torch.ones(1, 4).half(),
            f"{STEM}.g_idx": torch.zeros(4, dtype=torch.int32),
        },
        "GPTQ",
        "quantised from",
    ),
    "awq": (
        {
            f"{STEM}.qweight": torch.ones(4, 1, dtype=torch.int32),
            f"{STEM}.qzeros": torch.ones(1, 1, dtype=torch.int32),
            f"{STEM}.scales": torch.ones(1, 4).half(),
        },
        "AWQ",
        "quantised from",
    ),
    "compressed-tensors": (
        {f"{STEM}.weight_packed": torch.ones(4, 1, dtype=torch.int32), f"{STEM}.weight_scale": torch.ones(4)},
        "compressed tensors",
        r"dequantize\(\)",
    ),
    "fp8": (
        {
            f"{STEM}.weight": torch.ones(4, 4).to(torch.float8_e4m3fn),
            f"{STEM}.weight_scale_inv": torch.ones(1, 1),
        },
        "float8",
        r"dequantize\(\)",
    ),
}


@pytest.mark.parametrize("kind", PACKED)
def test_packed_weights_are_no_weights(tmp_path: Path, kind: str) -> None:
    tensors, what, advice = PACKED[kind]
    save_file({"model.norm.weight": torch.ones(4)} | tensors, tmp_path / "model.safetensors")
    config = {"quantization_config": {"quant_method": kind.partition("-")[0]}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedError, match=what) as e:
        open_checkpoint(tmp_path)
    assert e.match(advice)
    assert e.value.code == "BE113"


def test_a_stale_quantisation_config_beside_plain_weights_is_no_obstacle(tmp_path: Path) -> None:
    save_file({"w": torch.ones(4)}, tmp_path / "model.safetensors")
    config = {"quantization_config": {"quant_method": "bitsandbytes"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert list(open_checkpoint(tmp_path).tensors) == ["w"]


def test_flax_msgpack(tmp_path: Path) -> None:
    serialization = pytest.importorskip("flax.serialization")
    data = serialization.to_bytes({"encoder": {"kernel": np.ones((2, 3), np.float32)}})
    (tmp_path / "flax_model.msgpack").write_bytes(data)
    for path in (tmp_path, tmp_path / "flax_model.msgpack"):
        with pytest.raises(UnsupportedError, match=r"Flax.*from_flax=True"):
            open_checkpoint(path)


@pytest.mark.parametrize(("written_by", "advice"), [("flax", "from_flax"), ("tf", "from_tf")])
def test_safetensors_in_the_layout_of_another_framework(tmp_path: Path, written_by: str, advice: str) -> None:
    tensors = {"encoder.kernel": np.ones((2, 3), np.float32)}
    save_numpy(tensors, tmp_path / "model.safetensors", metadata={"format": written_by})
    with pytest.raises(UnsupportedError, match=advice):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["tf_model.h5"], "TensorFlow model"),
        (["bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001"], "TensorFlow checkpoint"),
        (["saved_model.pb"], "SavedModel"),
        (["_CHECKPOINT_METADATA"], "Orbax"),
    ],
)
def test_tensorflow_and_jax_by_the_names_of_their_files(tmp_path: Path, names: list[str], what: str) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"\x89HDF\r\n\x1a\n" if name.endswith("h5") else b"\x0a\x03abc")
    with pytest.raises(UnsupportedError, match=what):
        open_checkpoint(tmp_path)
    if "Orbax" not in what:
        with pytest.raises(UnsupportedError, match=r"TensorFlow.*from_tf=True"):
            open_checkpoint(tmp_path / names[0])


def test_weights_of_transformers_win_over_another_framework_beside_them(tmp_path: Path) -> None:
    bert: Any = model("bert-bare")
    bert.save_pretrained(tmp_path)
    (tmp_path / "flax_model.msgpack").write_bytes(b"\x80")
    (tmp_path / "tf_model.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    assert set(open_checkpoint(tmp_path).tensors) == set(bert.state_dict())


def test_gguf_without_its_library_names_the_extra(tmp_path: Path, monkeypatch: Any) -> None:
    import struct
    import sys

    from bitfit_probe.errors import MissingExtraError

    key = b"general.architecture"
    entry = struct.pack("<Q", len(key)) + key + struct.pack("<IQ", 8, 5) + b"llama"
    (tmp_path / "x.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + entry + bytes(64))
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(MissingExtraError, match=r"bitfit-probe\[gguf\]"):
        open_checkpoint(tmp_path / "x.gguf")
