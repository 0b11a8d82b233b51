"""The script that one would write: load both files with torch, loop over the tensors, print the figures.

    python -m benchmarks.naive BASE TUNED

It computes what a row of `bitfit-probe diff` holds, in torch's float32, and leaves BLAS its threads.
"""

from __future__ import annotations

import sys

import torch
from safetensors.torch import load_file


def load(path: str) -> dict[str, torch.Tensor]:
    if path.endswith(".safetensors"):
        return load_file(path)
    state: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def main() -> None:
    base, tuned = map(load, sys.argv[1:3])
    for name, b in base.items():
        t = tuned[name]
        b, t = b.float(), t.float()
        delta = t - b
        figures = (
            torch.equal(b, t),
            delta.abs().mean().item(),
            delta.norm(1).item(),
            delta.norm().item(),
            delta.abs().max().item(),
            (delta.norm() / b.norm()).item(),
            delta.mean().item(),
            torch.nn.functional.cosine_similarity(b.flatten(), t.flatten(), dim=0).item(),
            (delta != 0).float().mean().item(),
            (b * t < 0).sum().item(),
            (~b.isfinite()).sum().item(),
            (~t.isfinite()).sum().item(),
        )
        print(name, *figures)


if __name__ == "__main__":
    main()
