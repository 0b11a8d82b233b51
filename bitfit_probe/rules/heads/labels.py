"""BP406, and what the files say about labels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from bitfit_probe.checkpoint import Checkpoint, Tensor
from bitfit_probe.inference.purpose import task_of
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.tensors import heads, is_adapter, plain_name

__all__ = ["label_count", "label_map", "logits"]

_CLASSIFIERS = (
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForImageClassification",
    "ForAudioClassification",
)
_LAST = re.compile(
    r"(^|\.)(classifier|score|classifier\.out_proj|classification_head\.out_proj)(\.0)?\.weight$"
)
_GENERIC = re.compile(r"LABEL_\d+")


@rule("BP406", "label-map", "error", explains=("BP711", "BP715"), catalogue=(21,))
def label_map(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The label map does not fit the head, contradicts itself, or names nothing.

    What it means
    -------------
    ``id2label`` has another number of entries than the head has rows; ``label2id`` is not its inverse; two
    classes have one name; or all are called LABEL_0, LABEL_1, ….

    Why it matters
    --------------
    With another number of rows loading fails or draws a new head. Without an inverse, training and serving
    give one class two names: accuracy drops to that of a permutation. Generic names hide such mix-ups.

    How it is recognised
    --------------------
    config.json against the rows of the head's last projection, for classifiers. ``num_labels`` wins where it
    is there and fits, as in transformers. Not fitting is an error, no inverse a warning, generic names are an
    information.

    What to do
    ----------
    Set ``id2label`` and ``label2id`` when you build the model, from the data's own label names.

    References
    ----------
    huggingface/transformers#2487, huggingface/transformers#28589
    """
    config, last = pair.tuned.config, logits(pair)
    if is_adapter(pair.tuned) or last is None or not _classifies(config):
        return
    rows, labels = last.shape[0], label_count(pair.tuned)
    names = _names(config)
    if labels is not None and labels != rows and not _same_name_in_base(pair, last, rows):
        yield this.finding(
            f"config.json has {labels} labels, but the head '{last.name}' has {rows} rows: loading fails, or "
            "draws a new head where mismatched sizes are ignored.",
            subjects=("config.json", last.name),
            evidence=(
                Evidence("labels", labels, "labels"),
                Evidence("head_rows", rows, "rows", about=last.name),
            ),
            advice="Write the labels that the head was trained on into id2label and label2id.",
        )
    elif wrong := _contradiction(config):
        yield this.finding(
            f"The label map contradicts itself: {wrong}; training and serving may name the same class "
            "differently.",
            severity="warning",
            subjects=("config.json",),
            evidence=(Evidence("labels", rows, "labels"),),
            advice="Make label2id the inverse of id2label, in the order of the training data.",
        )
    elif rows > 1 and (not names or all(_GENERIC.fullmatch(name) for name in names.values())):
        yield this.finding(
            f"The {rows} classes have generic names (LABEL_0 …): nobody can tell from the files which "
            "is which.",
            severity="info",
            subjects=("config.json",),
            evidence=(Evidence("labels", rows, "labels"),),
            advice="Write the data's label names into id2label and label2id.",
        )


def _classifies(config: Mapping[str, Any]) -> bool:
    return task_of(config) in _CLASSIFIERS


def _same_name_in_base(pair: Pair, last: Tensor, rows: int) -> bool:
    """Whether the base has this head with other rows: then it was resized, and BP404 says so."""
    before = pair.base.tensors.get(last.name)
    return before is not None and bool(before.shape) and before.shape[0] != rows


def logits(pair: Pair) -> Tensor | None:
    """Weight of the projection that makes a classifier's logits; rows are classes."""
    found = [t for name, t in heads(pair).items() if _LAST.search(plain_name(name)) and len(t.shape) == 2]
    return found[-1] if found else None


def _names(config: Mapping[str, Any]) -> dict[str, str]:
    names = config.get("id2label")
    return {str(number): str(name) for number, name in names.items()} if isinstance(names, dict) else {}


def label_count(checkpoint: Checkpoint) -> int | None:
    """How many labels config.json speaks of; None where it doesn't."""
    count = checkpoint.config.get("num_labels")
    if isinstance(count, int) and not isinstance(count, bool):
        return count
    names = _names(checkpoint.config)
    return len(names) or None


def _contradiction(config: Mapping[str, Any]) -> str | None:
    names, numbers = _names(config), config.get("label2id")
    twice = sorted({name for name in names.values() if list(names.values()).count(name) > 1})
    if twice:
        return f"two classes are called '{twice[0]}'"
    if set(names) != {str(number) for number in range(len(names))}:
        return "id2label does not count from 0"
    if not isinstance(numbers, dict) or not names or len(numbers) != len(names):
        if isinstance(numbers, dict) and names and not _untouched(numbers):
            return f"id2label has {len(names)} entries and label2id {len(numbers)}"
        return None
    wrong = [number for number, name in names.items() if str(numbers.get(name)) != number]
    if not wrong:
        return None
    number = wrong[0]
    back = numbers.get(names[number])
    return f"id2label says {number} is '{names[number]}', label2id says '{names[number]}' is {back}"


def _untouched(numbers: Mapping[str, Any]) -> bool:
    """Whether label2id still is the default, which transformers writes for two labels."""
    return all(_GENERIC.fullmatch(str(name)) for name in numbers)
