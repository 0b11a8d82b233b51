"""How a run is made to disappoint: by its training, or by what is done to the files afterwards."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["CAUSES", "Cause"]

Tensors = dict[str, np.ndarray]


@dataclass(frozen=True)
class Cause:
    """One way to disappoint.

    Attributes
    ----------
    method, rate, steps, examples
        How it is trained: ``bitfit`` or ``full``, at a multiple of the sound rate, for a multiple of the
        sound steps, on so many examples.
    shuffled
        The training labels are shuffled.
    frozen
        The upper half of the layers is frozen.
    files
        What happens to the folder afterwards, given the folder and the base.
    sound
        Nothing is wrong: the right answer is that no cheap step helps.
    """

    method: str = "bitfit"
    rate: float = 1.0
    steps: float = 1.0
    examples: int = 1000
    shuffled: bool = False
    frozen: bool = False
    files: Callable[[Path, Path], None] | None = field(default=None, compare=False)
    sound: bool = False


def _tensors(change: Callable[[Tensors, Tensors], None]) -> Callable[[Path, Path], None]:
    def run(folder: Path, base: Path) -> None:
        from safetensors.numpy import load_file, save_file

        tensors = load_file(folder / "model.safetensors")
        before = load_file(base / "model.safetensors")
        known = {name.removeprefix("bert."): value for name, value in before.items()}
        change(
            tensors,
            {
                name: known[name.removeprefix("bert.")]
                for name in tensors
                if name.removeprefix("bert.") in known
            },
        )
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return run


def _lose_head(tensors: Tensors, base: Tensors) -> None:
    shape = tensors["classifier.weight"].shape
    tensors["classifier.weight"] = np.random.default_rng(7).normal(0, 0.02, shape).astype(np.float32)
    tensors["classifier.bias"] = np.zeros(shape[0], np.float32)


def _permute_head(tensors: Tensors, base: Tensors) -> None:
    for name in ("classifier.weight", "classifier.bias"):
        tensors[name] = np.roll(tensors[name], 1, axis=0).copy()


def _lose_biases(tensors: Tensors, base: Tensors) -> None:
    """The biases from before the training, the head from after it."""
    tensors.update({name: value for name, value in base.items() if name.endswith("bias")})


def _blow_up(tensors: Tensors, base: Tensors) -> None:
    """Biases as a rate a hundred times too high leaves them."""
    random = np.random.default_rng(8)
    for name in base:
        if name.endswith("bias"):
            tensors[name] = (tensors[name] + random.normal(0, 2, tensors[name].shape)).astype(np.float32)


def _round_away(tensors: Tensors, base: Tensors) -> None:
    """Logits far from zero, stored in half precision: what tells classes apart is rounded away."""
    import ml_dtypes

    tensors["classifier.bias"] = tensors["classifier.bias"] + np.float32(600)
    tensors.update({name: value.astype(ml_dtypes.bfloat16) for name, value in tensors.items()})


def _permute_tokens(folder: Path, base: Path) -> None:
    """The tokenizer of a sister model: the same words under other numbers."""
    path = folder / "tokenizer.json"
    known = json.loads(path.read_text("utf-8"))
    words = sorted(known["model"]["vocab"].items(), key=lambda item: item[1])
    plain = [word for word, _ in words if not word.startswith("[")]
    numbers = np.random.default_rng(9).permutation(
        [number for word, number in words if not word.startswith("[")]
    )
    vocabulary = {word: number for word, number in words if word.startswith("[")}
    vocabulary.update({word: int(number) for word, number in zip(plain, numbers, strict=True)})
    known["model"]["vocab"] = dict(sorted(vocabulary.items(), key=lambda item: item[1]))
    path.write_text(json.dumps(known), encoding="utf-8")


def _cut_texts(folder: Path, base: Path) -> None:
    _setting(folder / "tokenizer_config.json", model_max_length=5)
    path = folder / "tokenizer.json"
    known = json.loads(path.read_text("utf-8"))
    known["truncation"] = None
    path.write_text(json.dumps(known), encoding="utf-8")


def _keep_case(folder: Path, base: Path) -> None:
    path = folder / "tokenizer.json"
    known = json.loads(path.read_text("utf-8"))
    known["normalizer"]["lowercase"] = False
    path.write_text(json.dumps(known), encoding="utf-8")
    _setting(folder / "tokenizer_config.json", do_lower_case=False)


def _other_activation(folder: Path, base: Path) -> None:
    _setting(folder / "config.json", hidden_act="relu")


def _setting(path: Path, **settings: Any) -> None:
    known = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(known | settings), encoding="utf-8")


def _take_earlier(folder: Path, base: Path) -> None:
    """The early checkpoint is what was shipped; the good one lies in a folder beside it."""
    (early,) = folder.glob("checkpoint-*")
    late = folder / "checkpoint-9999"
    late.mkdir()
    shutil.move(folder / "model.safetensors", late / "model.safetensors")
    shutil.copy(folder / "config.json", late / "config.json")
    shutil.move(early / "model.safetensors", folder / "model.safetensors")
    shutil.rmtree(early)


CAUSES: dict[str, Cause] = {
    "head lost": Cause(files=_tensors(_lose_head)),
    "labels renumbered": Cause(files=_tensors(_permute_head)),
    "labels shuffled": Cause(shuffled=True),
    "rate too low": Cause(rate=0.01),
    "rate too high": Cause(files=_tensors(_blow_up)),
    "stopped early": Cause(steps=0.1),
    "over-trained": Cause(method="full", rate=3.0, steps=2.0, examples=100),
    "tokenizer swapped": Cause(files=_permute_tokens),
    "lower-casing off": Cause(files=_keep_case),
    "wrong checkpoint": Cause(files=_take_earlier),
    "body forgotten": Cause(files=_tensors(_lose_biases)),
    "frozen by accident": Cause(frozen=True),
    "truncated texts": Cause(files=_cut_texts),
    "half-precision loss": Cause(files=_tensors(_round_away)),
    "other activation": Cause(files=_other_activation),
    "too few labels": Cause(examples=40, steps=0.5),
    "sound, biases": Cause(sound=True),
    "sound, all weights": Cause(method="full", sound=True),
}
