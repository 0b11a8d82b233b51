"""id2label, label2id and num_labels: one name a row of the head, each way, and the base's numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.inference.purpose import task_of
from bitfit_probe.promises.case import Case
from bitfit_probe.records.promises import Promise
from bitfit_probe.wording import plural

__all__ = ["promises"]

_GENERIC = re.compile(r"LABEL_\d+")
_CLASSIFIERS = ("ForSequenceClassification", "ForTokenClassification", "ForImageClassification")


def promises(case: Case) -> Iterator[Promise]:
    """Where it is judged alone, a row of the head a label; beside a base, the base's number of each label."""
    names = _names(case.tuned)
    if not names or task_of(case.tuned.config) not in _CLASSIFIERS:
        return
    yield from _rows(case, names) if case.base is None else _numbers(case.base, names)
    yield from _both_ways(case, names)


def _names(checkpoint: Checkpoint) -> dict[str, str]:
    return _texts(checkpoint.config.get("id2label"))


def _texts(table: Any) -> dict[str, str]:
    return {str(key): str(value) for key, value in table.items()} if isinstance(table, dict) else {}


def _rows(case: Case, names: Mapping[str, str]) -> Iterator[Promise]:
    classifier = case.architecture.classifier
    last = f"{classifier.layers[-1]}.weight" if classifier is not None else "classifier.weight"
    heads = [held.tensor for held in case.held.values() if held.canonical == last and held.tensor.shape]
    stated = case.tuned.config.get("num_labels")
    labels = stated if isinstance(stated, int) and not isinstance(stated, bool) else len(names)
    if not heads:
        return
    fits = heads[0].shape[0] == labels
    yield Promise(
        "labels",
        "config.json: id2label",
        plural(labels, "label"),
        f"'{heads[0].name}' with {plural(heads[0].shape[0], 'row')}",
        "kept" if fits else "broken",
        loader="loading stops on the shape, or draws a new head",
        first="the labels that the head was trained on",
        subjects=(heads[0].name,),
    )


def _numbers(base: Checkpoint, names: Mapping[str, str]) -> Iterator[Promise]:
    """The base's number of each label, where it has the same ones."""
    before = _names(base)
    if set(before.values()) != set(names.values()) or task_of(base.config) not in _CLASSIFIERS:
        return
    moved = [number for number, name in names.items() if before.get(number) != name]
    was = next((old for old, name in before.items() if moved and name == names[moved[0]]), "")
    yield Promise(
        "labels",
        "the base's id2label",
        "its number for each label",
        f"'{names[moved[0]]}' is {moved[0]} instead of {was}" if moved else "the same",
        "broken" if moved else "kept",
        loader="right answers are called by other names unless the head was trained with these",
        first="the numbers in the training data",
        severity="warning",
        subjects=("config.json: id2label",),
    )


def _both_ways(case: Case, names: Mapping[str, str]) -> Iterator[Promise]:
    numbers = _texts(case.tuned.config.get("label2id"))
    unnamed = all(_GENERIC.fullmatch(name) for name in numbers)  # transformers' default, which stays behind
    if case.base is not None or len(numbers) != len(names) or unnamed:
        return  # beside a base BP406 says it
    wrong = [number for number, name in names.items() if numbers.get(name) != number]
    yield Promise(
        "labels",
        "config.json: id2label",
        "the inverse of label2id",
        f"'{names[wrong[0]]}', the {wrong[0]} of one, is another number in the other" if wrong else "it",
        "broken" if wrong else "kept",
        loader="training and serving call one class by two names",
        first="the numbers in the training data",
        severity="warning",
        subjects=("config.json: label2id",),
    )
