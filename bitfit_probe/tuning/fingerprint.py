"""What a checkpoint's tensors are, as hashes: to tell a base from every other one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from bitfit_probe.checkpoint import Checkpoint, Tensor
from bitfit_probe.data import TaskData

__all__ = ["digest_of", "digest_of_rows", "examples_sha256", "file_sha256", "fingerprint", "tensor_sha256"]

#: Elements read at a time.
_BLOCK = 1 << 20


def tensor_sha256(tensor: Tensor) -> str:
    """SHA-256 of the tensor's elements as they are stored, in C order."""
    seen = hashlib.sha256()
    for start in range(0, tensor.size, _BLOCK):
        stop = min(start + _BLOCK, tensor.size)
        raw = np.empty(stop - start, tensor.dtype.storage)
        tensor.read(start, stop, raw)
        seen.update(raw.view(np.uint8).data)
    return seen.hexdigest()


def fingerprint(checkpoint: Checkpoint) -> dict[str, str]:
    """Every tensor's SHA-256 by name."""
    return {name: tensor_sha256(tensor) for name, tensor in checkpoint.tensors.items()}


def digest_of(checkpoint: Checkpoint, hashes: Mapping[str, str] | None = None) -> str:
    """One SHA-256 over all names, element types, shapes and values; the container and its order don't matter.

    Parameters
    ----------
    hashes
        What `fingerprint` gave, where that is known already.
    """
    known = fingerprint(checkpoint) if hashes is None else hashes
    tensors = checkpoint.tensors
    return digest_of_rows(
        (name, tensors[name].dtype.name, tensors[name].shape, known[name]) for name in tensors
    )


def digest_of_rows(rows: Iterable[tuple[str, str, Sequence[int], str]]) -> str:
    """`digest_of` a checkpoint of which name, element type, shape and SHA-256 of each tensor are known."""
    seen = hashlib.sha256()
    for name, dtype, shape, sha256 in sorted(rows):
        line = json.dumps([name, dtype, list(shape), sha256])
        seen.update(line.encode() + b"\n")
    return seen.hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file."""
    seen = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            seen.update(block)
    return seen.hexdigest()


def examples_sha256(data: TaskData) -> str:
    """SHA-256 of texts and labels, whatever file they came from."""
    content = json.dumps([data.texts, data.pairs, data.labels, data.label_names])
    return hashlib.sha256(content.encode()).hexdigest()
