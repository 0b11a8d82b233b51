"""Names that no module tree gives are refused before anything is looked for in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.errors import CorruptError


@pytest.mark.parametrize("name", ["a." * 20_000 + "bias", "x" * 1_000_000, "a." * 100 + "bias", "x" * 1001])
def test_names_without_an_end_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "m.safetensors"
    save_file({name: np.zeros(1, np.float32)}, path)
    with pytest.raises(CorruptError, match=r"a tensor's name has .* more than 1000 and 100") as caught:
        open_checkpoint(path)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["a." * 99 + "bias", "x" * 1000])
def test_names_that_are_merely_long_are_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / "m.safetensors"
    save_file({name: np.zeros(1, np.float32)}, path)
    assert list(open_checkpoint(path).tensors) == [name]
