"""State dicts that every container must give back, and how to compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch

from bitfit_probe.checkpoint import Checkpoint

Tensors = Mapping[str, torch.Tensor]


def raw_bytes(tensor: torch.Tensor) -> bytes:
    """The elements in C order, as torch sees them."""
    dense = tensor.detach().contiguous().reshape(-1)
    return dense.view(torch.uint8).numpy().tobytes() if dense.numel() else b""


@pytest.fixture
def same() -> Callable[[Checkpoint, Tensors], None]:
    def check(opened: Checkpoint, expected: Tensors) -> None:
        assert list(opened.tensors) == list(expected)
        for name, want in expected.items():
            got = opened.tensors[name]
            assert got.shape == tuple(want.shape), name
            assert f"torch.{got.dtype.name}" == str(want.dtype), name
            raw = np.empty(got.size, got.dtype.storage)
            got.read(0, got.size, raw)
            assert raw.tobytes() == raw_bytes(want), name
            if got.dtype.decodable:
                np.testing.assert_array_equal(got.values(), want.detach().to(torch.float64).numpy(), name)

    return check


@pytest.fixture
def every_dtype() -> dict[str, torch.Tensor]:
    values = torch.linspace(-3, 3, 12).reshape(3, 4)
    floats = ["float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"]
    floats += ["float8_e4m3fnuz", "float8_e5m2fnuz"]
    out = {name: values.to(getattr(torch, name)) for name in floats}
    integers = ["int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64"]
    out |= {name: torch.arange(6).to(getattr(torch, name)) for name in integers}
    return out | {
        "bool": torch.tensor([True, False, True]),
        "complex64": torch.tensor([1 + 2j, 3 - 4j], dtype=torch.complex64),
        "scalar": torch.tensor(1.5),
        "empty": torch.empty(0),
        "empty_matrix": torch.empty(3, 0, 2, dtype=torch.float16),
    }
