"""What config.json and adapter_config.json say: which class a loader builds, and for which task."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bitfit_probe.checkpoint import Checkpoint

__all__ = ["adapter_settings", "model_class", "task_of"]

#: Endings of transformers' class names, longest first where one contains another.
_TASKS = re.compile(
    r"(ForSequenceClassification|ForTokenClassification|ForQuestionAnswering|ForMultipleChoice"
    r"|ForImageClassification|ForAudioClassification|ForNextSentencePrediction|ForPreTraining"
    r"|ForMaskedLM|ForCausalLM|LMHeadModel|ForConditionalGeneration|WithLMHead|DoubleHeadsModel|Model)(?:WithTeacher)?$"
)


def adapter_settings(checkpoint: Checkpoint) -> Mapping[str, Any]:
    """adapter_config.json beside the weights; empty where there is none."""
    return checkpoint.read_json("adapter_config.json") or {}


def model_class(config: Mapping[str, Any]) -> str | None:
    """The class that config.json names, such as ``BertForMaskedLM``."""
    classes = config.get("architectures")
    first = classes[0] if isinstance(classes, list) and classes else None
    return first if isinstance(first, str) else None


def task_of(config: Mapping[str, Any]) -> str | None:
    """The end of that class's name: ``ForMaskedLM``, ``Model``, …."""
    found = _TASKS.search(model_class(config) or "")
    return found.group(1) if found else None
