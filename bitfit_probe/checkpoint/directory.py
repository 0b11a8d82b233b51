"""Which file of a model directory holds the weights.

The order is that of ``transformers.modeling_utils`` (PreTrainedModel.from_pretrained): a single file wins
over shards, safetensors over pickles. Directories that no loader wrote may hold one weight file of any name.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bitfit_probe.checkpoint.adapters.reading import ADAPTER_FILES
from bitfit_probe.errors import AmbiguousError, EmptyError

__all__ = ["WEIGHT_FILES", "WEIGHT_SUFFIXES", "Found", "find_weights", "left_unread", "standard_weights"]

WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
#: Weight-like files that trainers leave beside the weights.
_NO_WEIGHTS = (
    "optimizer",
    "scheduler",
    "scaler",
    "rng_state",
    "random_states",
    "sampler",
    "training_args",
)
#: Endings under which weights lie, whether or not we would read them there.
_WEIGHT_LIKE = (*WEIGHT_SUFFIXES, ".gguf", ".onnx", ".h5", ".msgpack", ".ot", ".npz")
_OPTIMIZER_STATES = "optim_states.pt"  # DeepSpeed's, which begin with the rank


@dataclass(frozen=True)
class Found:
    """The weight file that counts, and the others that were left alone."""

    weights: Path
    siblings: tuple[Path, ...]


def standard_weights(folder: Path) -> list[Path]:
    """The weight files under names that transformers knows, in its order."""
    return [folder / name for name in WEIGHT_FILES if (folder / name).is_file()]


def find_weights(folder: Path) -> Found:
    """The weights that transformers would load from `folder`.

    Raises
    ------
    EmptyError
        No weight file in it.
    AmbiguousError
        Several, none under a standard name.
    """
    standard = standard_weights(folder)
    if standard:
        return Found(standard[0], tuple(standard[1:]))
    adapters = [folder / name for name in ADAPTER_FILES if (folder / name).is_file()]
    if adapters:
        return Found(adapters[0], tuple(adapters[1:]))
    others = sorted(
        path for path in folder.iterdir() if path.suffix in WEIGHT_SUFFIXES and _holds_weights(path)
    )
    if len(others) == 1:
        return Found(others[0], ())
    if others:
        names = ", ".join(path.name for path in others[:5])
        raise AmbiguousError(
            f"holds several weight files, none under a standard name: {names}",
            advice="name the file itself",
            path=folder,
        )
    raise _empty(folder)


def left_unread(folder: Path, read: Iterable[Path]) -> tuple[str, ...]:
    """Names of weight files in `folder` that are not among those `read`, and of folders in it that hold some.

    Whoever reads a result has to know what it does not speak of: a stale shard, weights of another
    framework, an adapter in a folder of its own.
    """
    # Shards lie anywhere below, and hub caches link to them.
    known = {os.path.realpath(path) for path in read}
    return tuple(sorted(_unread_in(folder, known)))


def _unread_in(folder: Path, known: set[str]) -> Iterator[str]:
    try:
        for path in folder.iterdir():
            if path.is_dir() and not path.name.startswith("."):
                if any(_is_unread(inner, known) for inner in path.iterdir()):
                    yield f"{path.name}/"
            elif _is_unread(path, known):
                yield path.name
    except OSError:  # what may not be listed is not known to hold weights
        return


def _is_unread(path: Path, known: set[str]) -> bool:
    return path.suffix in _WEIGHT_LIKE and _holds_weights(path) and os.path.realpath(path) not in known


def _holds_weights(path: Path) -> bool:
    name = path.name
    return path.is_file() and not name.startswith(_NO_WEIGHTS) and not name.endswith(_OPTIMIZER_STATES)


def _empty(folder: Path) -> EmptyError:
    inner = sorted(path.name for path in folder.glob("checkpoint-*") if path.is_dir())
    if inner:
        return EmptyError(
            f"no weights at its top, but in {len(inner)} checkpoint folders",
            advice=f"give one of them, such as {folder / inner[-1]}",
            path=folder,
        )
    return EmptyError(
        "no weight file in it",
        advice="give a directory with model.safetensors or pytorch_model.bin",
        path=folder,
    )
