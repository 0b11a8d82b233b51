"""Which file of a model directory holds the weights.

The order is that of ``transformers.modeling_utils`` (PreTrainedModel.from_pretrained): a single file wins
over shards, safetensors over pickles. Directories that no loader wrote may hold one weight file of any name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bitfit_probe.checkpoint.adapters.reading import ADAPTER_FILES
from bitfit_probe.errors import AmbiguousError, EmptyError

__all__ = ["Found", "find_weights"]

_ORDER = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
#: Weight-like files that trainers leave beside the weights.
_NO_WEIGHTS = ("optimizer", "scheduler", "scaler", "rng_state", "training_args")


@dataclass(frozen=True)
class Found:
    """The weight file that counts, and the others that were left alone."""

    weights: Path
    siblings: tuple[Path, ...]


def find_weights(folder: Path) -> Found:
    """The weights that transformers would load from `folder`.

    Raises
    ------
    EmptyError
        No weight file in it.
    AmbiguousError
        Several, none under a standard name.
    """
    standard = [folder / name for name in _ORDER if (folder / name).is_file()]
    if standard:
        return Found(standard[0], tuple(standard[1:]))
    adapters = [folder / name for name in ADAPTER_FILES if (folder / name).is_file()]
    if adapters:
        return Found(adapters[0], tuple(adapters[1:]))
    others = sorted(
        path
        for path in folder.iterdir()
        if path.suffix in _SUFFIXES and path.is_file() and not path.name.startswith(_NO_WEIGHTS)
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
