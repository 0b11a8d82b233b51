"""How fast packed weights become values: megabytes of codes and scales a second, on one core.

    OMP_NUM_THREADS=1 python -m benchmarks.unpacking [--rows 4096] [--rounds 5]

A matrix of normal noise is packed as bitsandbytes packs NF4 (codes, scales a block of 64, levels, state),
read from the disk's cache and unpacked a block of rows at a time, as a diff does it. The least processor time
of the rounds counts, which other work on the machine lengthens little.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from bitfit_probe.checkpoint import Tensor, open_checkpoint
from bitfit_probe.checkpoint.quantised.nf4 import BLOCK, LEVELS

_NAME = "model.layers.0.self_attn.q_proj.weight"
#: Elements that a diff reads at once.
_READ = 1 << 18


def packed(path: Path, rows: int, columns: int) -> int:
    """Write a packed matrix; its bytes."""
    weight = np.random.default_rng(0).standard_normal((rows * columns // BLOCK, BLOCK), np.float32)
    largest = np.abs(weight).max(axis=1)
    codes = (
        np.searchsorted((LEVELS[1:] + LEVELS[:-1]) / 2, weight / largest[:, None])
        .astype(np.uint8)
        .reshape(-1, 2)
    )
    state = {"quant_type": "nf4", "blocksize": BLOCK, "dtype": "float32", "shape": [rows, columns]}
    tensors = {
        _NAME: (codes[:, :1] << 4 | codes[:, 1:]),
        f"{_NAME}.absmax": largest,
        f"{_NAME}.quant_map": LEVELS.astype(np.float32),
        f"{_NAME}.quant_state.bitsandbytes__nf4": np.frombuffer(json.dumps(state).encode(), np.uint8),
    }
    save_file(tensors, path)
    return tensors[_NAME].nbytes + largest.nbytes


def unpack(tensor: Tensor) -> float:
    """Processor seconds that all values of a tensor take, as they are stored."""
    out = np.empty(_READ, tensor.dtype.storage)
    start = time.process_time()
    for at in range(0, tensor.size, _READ):
        stop = min(at + _READ, tensor.size)
        tensor.read(at, stop, out[: stop - at])
    return time.process_time() - start


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=4096, help="rows of the matrix")
    parser.add_argument("--columns", type=int, default=4096, help="columns of the matrix")
    parser.add_argument("--rounds", type=int, default=5, help="how often to measure")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        size = packed(path, options.rows, options.columns)
        tensor = open_checkpoint(path).tensors[_NAME]
        best = min(unpack(tensor) for _ in range(options.rounds))
    values = options.rows * options.columns * 4
    print(
        f"NF4: {size / best / 1e6:.0f} MB/s of packed bytes, {values / best / 1e6:.0f} MB/s of float32 values"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
