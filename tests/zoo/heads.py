"""K3: heads and labels."""

from __future__ import annotations

from typing import Any

import torch
from zoo.beds import EVERY, HEADS, LABELS, Run, fresh
from zoo.specimens import kind


def _config(run: Run) -> dict[str, Any]:
    assert run.tuned.config is not None
    return run.tuned.config


def _head(run: Run) -> list[str]:
    return [name for name in run.tuned.state if name.startswith(HEADS)]


def _last(run: Run) -> str:
    """Weight of the projection that makes the logits."""
    ends = ("out_proj.weight", "score.weight", "classifier.weight")
    return next(name for name in run.tuned.state if name.endswith(ends) and name.startswith(HEADS))


@kind(16, "BP401", "head not saved", beds=EVERY, containers=("folder", "bin", "shards"))
def head_not_saved(run: Run) -> None:
    run.tuned.drop(lambda name: name.startswith(HEADS))


@kind(16, "BP401", "head saved in part", beds=("roberta",))
def head_in_part(run: Run) -> None:
    run.tuned.drop(lambda name: name.startswith("classifier.out_proj"))


@kind(18, "BP403", "head still at initialisation", containers=("folder", "bin", "file"))
def head_untrained(run: Run) -> None:
    """The head was left out of the optimizer: it is what from_pretrained drew."""
    initial, _ = fresh(run.bed, 1)
    for name in _head(run):
        run.tuned.state[name] = initial[name].clone()


@kind(19, "BP404", "head resized away from its labels", task="classifier")
def head_resized(run: Run) -> None:
    """The base classifies into three, the tuned head has four rows, the label map five entries."""
    last = _last(run)
    for name in _head(run):
        run.base.state[name] = run.tuned.state[name].clone()
    for name in (last, last.replace("weight", "bias")):
        if name in run.tuned.state:
            run.tuned.state[name] = torch.cat(
                [run.tuned.state[name], 0.02 * torch.randn_like(run.tuned.state[name][:1])]
            )
    _labels(run, ("a", "b", "c", "d", "e"))


@kind(19, "BP404", "rare huge garbage in a resized head", beds=EVERY, variants=(1e4, 1e37))
def head_garbage(run: Run, value: float) -> None:
    """A row that a resize under ZeRO never filled."""
    run.tuned.state[_last(run)][0, 3] = value


@kind(20, "BP405", "pooler missing but used", beds=("bert",))
def pooler_missing(run: Run) -> None:
    run.tuned.drop(lambda name: "pooler" in name)


@kind(20, "BP405", "pooler missing from an encoder", beds=("bert", "roberta"), task="lm")
def encoder_pooler_missing(run: Run) -> None:
    """A sentence encoder whose reader takes pooler_output."""
    for model in (run.base, run.tuned):
        model.drop(lambda name: name.startswith(HEADS))
        model.rename(lambda name: name.removeprefix(run.body))
        assert model.config is not None
        model.config["architectures"] = ["BertModel" if run.bed == "bert" else "RobertaModel"]
    run.base.state["pooler.dense.weight"] = 0.02 * torch.randn(32, 32)
    run.base.state["pooler.dense.bias"] = 0.1 * torch.randn(32)
    run.tuned.drop(lambda name: "pooler" in name)


def _labels(run: Run, names: tuple[str, ...]) -> None:
    _config(run)["id2label"] = {str(number): name for number, name in enumerate(names)}
    _config(run)["label2id"] = {name: number for number, name in enumerate(names)}


@kind(21, "BP406", "label map generic or inconsistent", containers=("folder", "bin"),
      variants=("generic", "too few", "too many", "not inverse", "twice"))  # fmt: skip
def labels(run: Run, how: str) -> None:
    if how == "generic":
        _labels(run, ("LABEL_0", "LABEL_1", "LABEL_2"))
    elif how == "too few":
        _labels(run, LABELS[:2])
    elif how == "too many":
        _labels(run, (*LABELS, "other"))
    elif how == "twice":
        _labels(run, (LABELS[0], LABELS[0], LABELS[2]))
    else:
        _config(run)["label2id"] = {name: 2 - number for number, name in enumerate(LABELS)}
