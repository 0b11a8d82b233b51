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
    # The names and element types of one linear layer, in a form that is not read.
    "hqq": (
        {f"{STEM}.W_q": torch.ones(4, 4, dtype=torch.uint8), f"{STEM}.meta": torch.ones(1)},
        "HQQ",
        "quantised from",
    ),
    "torchao": (
        {
            f"{STEM}._weight_qdata": torch.ones(4, 2, dtype=torch.uint8),
            f"{STEM}._weight_scale": torch.ones(1, 4),
        },
        "torchao",
        r"dequantize\(\)",
    ),
    "gptq": (
        # 3 bits, three words for 32 codes.
        {
            f"{STEM}.qweight": torch.ones(3, 32, dtype=torch.int32),
            f"{STEM}.qzeros": torch.ones(1, 3, dtype=torch.int32),
            f"{STEM}.scales": torch.ones(1, 32),
            f"{STEM}.g_idx": torch.zeros(32, dtype=torch.int32),
        },
        "GPTQ",
        "quantised from",
    ),
    "bitsandbytes": (
        # Tiled for a GPU, as bitsandbytes did before 0.45.
        {
            f"{STEM}.weight": torch.ones(4, 4, dtype=torch.int8),
            f"{STEM}.SCB": torch.ones(4),
            f"{STEM}.weight_format": torch.tensor(1, dtype=torch.uint8),
        },
        "bitsandbytes, 8 bits",
        r"dequantize\(\)",
    ),
    "fp8": (
        {
            f"{STEM}.weight": torch.ones(4, 4).to(torch.float8_e4m3fn),
            f"{STEM}.weight_scale_inv": torch.ones(3, 1),
        },
        "float8",
        r"FineGrainedFP8Config\(dequantize=True\)",
    ),
}


@pytest.mark.parametrize("kind", PACKED)
def test_packed_weights_are_no_weights(tmp_path: Path, kind: str) -> None:
    tensors, what, advice = PACKED[kind]
    save_file({"model.norm.weight": torch.ones(4)} | tensors, tmp_path / "model.safetensors")
    config = {"quantization_config": {"quant_method": kind}}
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


@pytest.mark.parametrize(("written_by", "advice"), [("flax", "from_flax"), ("tf", "from_tf")])
def test_safetensors_in_the_layout_of_another_framework(tmp_path: Path, written_by: str, advice: str) -> None:
    tensors = {"encoder.kernel": np.ones((2, 3), np.float32)}
    save_numpy(tensors, tmp_path / "model.safetensors", metadata={"format": written_by})
    with pytest.raises(UnsupportedError, match=advice):
        open_checkpoint(tmp_path)


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
