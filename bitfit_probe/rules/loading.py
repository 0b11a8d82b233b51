"""What a loader makes of a checkpoint: which class its config asks for, and which names that class knows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bitfit_probe.align import Pair, unwrapped
from bitfit_probe.architectures import Architecture, recognise
from bitfit_probe.checkpoint import Checkpoint, Tensor
from bitfit_probe.rules.interface import Attempt, CannotTell, Case

__all__ = [
    "adapter_settings",
    "architecture_of",
    "heads",
    "is_adapter",
    "is_delta",
    "model_class",
    "opened",
    "pairs_by_tuned",
    "plain_name",
    "task_of",
    "word_embedding",
]

#: Endings of transformers' class names, longest first where one contains another.
_TASKS = re.compile(
    r"(ForSequenceClassification|ForTokenClassification|ForQuestionAnswering|ForMultipleChoice"
    r"|ForImageClassification|ForAudioClassification|ForNextSentencePrediction|ForPreTraining"
    r"|ForMaskedLM|ForCausalLM|LMHeadModel|ForConditionalGeneration|WithLMHead|DoubleHeadsModel|Model)(?:WithTeacher)?$"
)
_WORDS = re.compile(
    r"(^|\.)(word_embeddings|wte|embed_tokens|tok_embeddings|embed_in|shared|word_embedding)\.weight$"
)


def opened(attempt: Attempt) -> Checkpoint:
    """The tuned checkpoint; raises CannotTell where it could not be opened."""
    if attempt.tuned is None:
        raise CannotTell("the tuned checkpoint can't be opened")
    return attempt.tuned


def is_adapter(checkpoint: Checkpoint) -> bool:
    """Whether it holds an adapter's factors and no model."""
    return getattr(checkpoint, "adapter", None) is not None or any(
        ".lora_A." in name or ".lora_B." in name for name in checkpoint.tensors
    )


def adapter_settings(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """adapter_config.json beside the weights; empty where there is none."""
    return checkpoint.read_json("adapter_config.json") or {}


def is_delta(case: Case) -> bool:
    """Whether the tuned file holds only what was trained: biases or norms, perhaps a head, and no matrix."""
    theirs = {pair.tuned.name for pair in case.alignment.pairs if pair.in_file}
    tensors = case.tuned.tensors
    matrices = [name for name in theirs if len(tensors[name].shape) > 1 and not _is_head(case, name)]
    return not matrices and any(len(tensor.shape) > 1 for tensor in case.base.tensors.values())


def _is_head(case: Case, name: str) -> bool:
    return architecture_of(case).info(unwrapped(name), 2).kind == "head"


def model_class(config: Mapping[str, Any]) -> str | None:
    """The class that config.json names, such as ``BertForMaskedLM``."""
    classes = config.get("architectures")
    first = classes[0] if isinstance(classes, list) and classes else None
    return first if isinstance(first, str) else None


def task_of(config: Mapping[str, Any]) -> str | None:
    """The end of that class's name: ``ForMaskedLM``, ``Model``, …."""
    found = _TASKS.search(model_class(config) or "")
    return found.group(1) if found else None


def plain_name(name: str) -> str:
    """The name as it was before any wrapper."""
    return unwrapped(name)


def architecture_of(case: Case) -> Architecture:
    """The tuned checkpoint's architecture, with the prefix that its own names have."""
    if "architecture" not in case.cache:
        names = [unwrapped(name) for name in case.tuned.tensors]
        found = recognise(names, case.tuned.config or case.base.config)
        known = case.alignment.architecture if found.family == "generic" else found
        case.cache["architecture"] = known
    architecture: Architecture = case.cache["architecture"]
    return architecture


def heads(case: Case) -> dict[str, Tensor]:
    """Head tensors of the tuned checkpoint by their own names."""
    if "heads" not in case.cache:
        architecture = architecture_of(case)
        case.cache["heads"] = {
            name: tensor
            for name, tensor in case.tuned.tensors.items()
            if architecture.info(unwrapped(name), len(tensor.shape)).kind == "head"
        }
    found: dict[str, Tensor] = case.cache["heads"]
    return found


def word_embedding(checkpoint: Checkpoint) -> Tensor | None:
    """The table that token ids are looked up in; the one with most elements where several look like it."""
    found = [t for name, t in checkpoint.tensors.items() if _WORDS.search(name) and len(t.shape) == 2]
    return max(found, key=lambda tensor: tensor.size, default=None)


def pairs_by_tuned(case: Case) -> dict[str, Pair]:
    """Whole pairs by the tuned side's name."""
    return {pair.tuned.name: pair for pair in case.alignment.pairs if pair.part is None}
