"""A tuned checkpoint as a model that answers questions: its head, its tokenizer, the data's labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.data import TaskData
from bitfit_probe.data.labels import listed, number
from bitfit_probe.errors import ModelError
from bitfit_probe.inference import Loaded, load_model, load_tokenizer, open_config
from bitfit_probe.measures.examples import Question, purpose_of, question
from bitfit_probe.measures.live import plainly_named

__all__ = ["Runnable", "runnable"]

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
#: What classifiers of transformers call the weight whose rows are the classes.
_HEADS = ("classifier.weight", "score.weight", "classifier.out_proj.weight", "logits_proj.weight")


@dataclass(frozen=True)
class Runnable:
    """A model in evaluation mode, and what it is asked."""

    model: Any
    tokenizer: Any
    question: Question
    notes: tuple[str, ...] = ()


def runnable(tuned: Checkpoint, base: Checkpoint, data: TaskData, model_dir: str | Path | None) -> Runnable:
    """Build the tuned model from its files, or with the base's config or tokenizer where it has none.

    Raises
    ------
    ModelError
        There is no config or tokenizer, or the checkpoint holds no head for the task.
    DataError
        The labels are not this model's.
    """
    if tuned.read_json("adapter_config.json") is not None:
        raise ModelError(
            "is an adapter, which is no model by itself",
            advice="merge it into the base (peft's merge_and_unload) and give that",
            path=tuned.path,
        )
    given = [Path(model_dir)] if model_dir is not None else []
    folders = [*given, tuned.folder, base.folder]
    home = next((folder for folder in folders if open_config(folder)), folders[0])
    config = open_config(home)
    purpose = purpose_of(tuned, config, data)
    checkpoint = plainly_named(tuned)
    classes = _classes(checkpoint, config) if purpose == "classify" else {}
    loaded = load_model(checkpoint, config=home, purpose=purpose, **classes)
    _check_complete(loaded, tuned)
    files = (folder for folder in folders if any((folder / name).is_file() for name in _TOKENIZER_FILES))
    tokenizer = load_tokenizer(next(files, folders[0]))
    asked = question(data, loaded.model.config, purpose)
    notes = [*data.notes, *_unknown(tokenizer, data)]
    if asked.kind == "classification" and _by_order(data, loaded.model.config.id2label):
        notes.append("config.json names no classes: the labels were taken in alphabetical order")
    if data.labels is not None and purpose != "classify":
        notes.append("the labels were left aside: the model is a language model")
    return Runnable(loaded.model, tokenizer, asked, tuple(notes))


def _classes(checkpoint: Checkpoint, config: Mapping[str, Any]) -> dict[str, Any]:
    """How many classes the checkpoint's own head has, where the config says otherwise."""
    found = next((checkpoint.tensors[name].shape[0] for name in _HEADS if name in checkpoint.tensors), None)
    said = config.get("num_labels") or len(config.get("id2label") or (0, 1))
    return {} if found is None or found == said else {"num_labels": found}


def _check_complete(loaded: Loaded, tuned: Checkpoint) -> None:
    if loaded.missing:
        raise ModelError(
            f"lacks {listed(loaded.missing)}, which {type(loaded.model).__name__} needs",
            advice="give the checkpoint with its head",
            path=tuned.path,
        )


def _by_order(data: TaskData, id2label: Mapping[int, str]) -> bool:
    unnamed = all(name == f"LABEL_{place}" for place, name in id2label.items())
    return unnamed and not any(
        number(name) is not None or name in id2label.values() for name in data.label_names
    )


def _unknown(tokenizer: Any, data: TaskData) -> list[str]:
    """A note where much of the text is unknown to the tokenizer: then the figures tell little."""
    if tokenizer.unk_token_id is None:
        return []
    ids = tokenizer(list(data.texts[:200]), add_special_tokens=False, truncation=True)["input_ids"]
    counts = [(sum(i == tokenizer.unk_token_id for i in row), len(row)) for row in ids]
    unknown, total = (sum(column) for column in zip(*counts, strict=True))
    share = unknown / max(total, 1)
    return [f"{share:.0%} of the tokens are unknown to the tokenizer"] if share >= 0.1 else []
