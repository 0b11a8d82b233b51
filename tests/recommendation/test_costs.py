"""What a method trains, counted from headers, against the models that `tune` builds."""

from __future__ import annotations

from pathlib import Path

import pytest
from recommendation.kinds import BODIES, write_body
from support.builders import state, write

from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.data import Columns, TaskData
from bitfit_probe.errors import NoBiasesError
from bitfit_probe.recommendation.costs import costs
from bitfit_probe.tuning.build import build
from bitfit_probe.tuning.options import TuneOptions

RANK = 3
#: Kinds of `support.builders.MODELS` with heads of other tasks, with and without a pooler.
WITH_HEADS = ("bert", "bert-mlm", "bert-bare", "roberta", "distilbert", "gpt2", "llama", "t5", "opt")


def examples(classes: int) -> TaskData:
    """Six texts of so many classes; of a quantity where there are none."""
    columns = Columns("text", None, "label")
    texts = tuple(f"w{number}" for number in range(6))
    if not classes:
        return TaskData(texts, None, tuple(map(float, range(6))), (), "regression", columns)
    labels = tuple(number % classes for number in range(6))
    return TaskData(texts, None, labels, tuple(map(str, range(classes))), "classification", columns)


def built(base: Path, classes: int) -> dict[str, int]:
    """Trained parameters of each method as `tune` counts them; without those that can't be built."""
    counts = {}
    objective = "classify" if classes else "regress"
    for method in ("bitfit", "lora", "full"):
        try:
            made = build(
                open_checkpoint(base), examples(classes), objective, TuneOptions(method=method, lora_r=RANK)
            )
        except NoBiasesError:
            continue
        counts[method] = made.trained
    return counts


def counted(base: Path, classes: int) -> dict[str, int]:
    return {item.method: item.trainable for item in costs(open_checkpoint(base), classes, RANK)}


@pytest.mark.parametrize("classes", [0, 2, 5])
@pytest.mark.parametrize("kind", WITH_HEADS)
def test_as_many_as_tune_trains(kind, classes, bases):
    assert counted(bases(kind), classes) == built(bases(kind), classes)


@pytest.mark.parametrize("kind", BODIES)
def test_as_many_in_every_family(kind, tmp_path):
    base = write_body(kind, tmp_path / "base")
    assert counted(base, 3) == built(base, 3)


def test_memory_and_storage_are_those_of_float32(bases):
    """AdamW keeps a gradient and two moments of 4 bytes each; what is kept for a task is 4 bytes each."""
    for item in costs(open_checkpoint(bases("bert")), 2, RANK):
        assert item.optimizer_bytes == 12 * item.trainable
        assert item.checkpoint_bytes == 4 * item.trainable
        assert item.stored(100) == 400 * item.trainable


def test_cheapest_first_and_no_bitfit_without_biases(bases):
    assert [item.method for item in costs(open_checkpoint(bases("llama")), 2, 8)] == ["lora", "full"]
    ranked = {rank: costs(open_checkpoint(bases("bert")), 2, rank) for rank in (1, 8)}
    assert [item.method for item in ranked[8]] == ["bitfit", "lora", "full"]
    for items in ranked.values():
        counts = [item.trainable for item in items]
        assert counts == sorted(counts)


def test_an_unknown_architecture_gets_one_layer_as_head(tmp_path):
    """Two layers of 6 → 6 with biases, a norm of 6 and a table of 10 × 6, under names of no family."""
    import torch

    sizes = {"table.weight": (10, 6), "final_norm.weight": (6,), "final_norm.bias": (6,)}
    for layer in range(2):
        sizes |= {f"stages.{layer}.mixer.weight": (6, 6), f"stages.{layer}.mixer.bias": (6,)}
        sizes |= {f"stages.{layer}.norm.weight": (6,), f"stages.{layer}.norm.bias": (6,)}
    path = write(tmp_path / "odd.safetensors", {name: torch.zeros(size) for name, size in sizes.items()})
    head = 6 * 4 + 4
    found = {item.method: item.trainable for item in costs(open_checkpoint(path), 4, 2)}
    assert found["bitfit"] == 5 * 6 + head
    assert found["full"] == 60 + 2 * (36 + 6 + 12) + 12 + head


def test_wrappers_in_names_change_nothing(bases, tmp_path):
    plain = state("bert")
    wrapped = write(tmp_path / "wrapped.pt", {f"module.{name}": tensor for name, tensor in plain.items()})
    expected = costs(open_checkpoint(bases("bert")), 2, RANK)
    assert costs(open_checkpoint(wrapped), 2, RANK) == expected
