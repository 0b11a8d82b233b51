"""What a model is for, by the class that its config.json names; the only reader of `architectures`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

__all__ = ["POOLED_TASKS", "Purpose", "is_causal", "model_class", "purpose_of", "task_of"]

#: Which of transformers' automatic classes: with a classification head, bare, or with a language-model head.
Purpose = Literal["classify", "features", "masked-lm", "causal-lm"]

#: Endings of transformers' class names, longest first where one contains another.
_TASKS = re.compile(
    r"(ForSequenceClassification|ForTokenClassification|ForQuestionAnswering|ForMultipleChoice"
    r"|ForImageClassification|ForAudioClassification|ForNextSentencePrediction|ForPreTraining"
    r"|ForMaskedLM|ForCausalLM|LMHeadModel|ForConditionalGeneration|WithLMHead|DoubleHeadsModel|Model)(?:WithTeacher)?$"
)
_PURPOSES: dict[str | None, Purpose] = {
    "ForSequenceClassification": "classify",
    "ForMaskedLM": "masked-lm",
    "ForPreTraining": "masked-lm",
    "ForCausalLM": "causal-lm",
    "LMHeadModel": "causal-lm",
    "DoubleHeadsModel": "causal-lm",
}
#: Classes of BERT-like bodies whose head reads the pooler.
POOLED_TASKS = (
    "ForSequenceClassification",
    "ForMultipleChoice",
    "ForNextSentencePrediction",
    "ForPreTraining",
)


def model_class(config: Mapping[str, Any]) -> str | None:
    """The class that config.json names, such as ``BertForMaskedLM``."""
    classes = config.get("architectures")
    first = classes[0] if isinstance(classes, list) and classes else None
    return first if isinstance(first, str) else None


def task_of(config: Mapping[str, Any]) -> str | None:
    """The end of that class's name: ``ForMaskedLM``, ``Model``, …."""
    found = _TASKS.search(model_class(config) or "")
    return found.group(1) if found else None


def purpose_of(config: Mapping[str, Any]) -> Purpose:
    """What that class is run for: a classifier where none is named, else the bare body of any other."""
    return _PURPOSES.get(task_of(config), "features") if model_class(config) else "classify"


def is_causal(config: Mapping[str, Any]) -> bool:
    """Whether tokens see only those before them: transformers' decoders say so by their family."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as DECODERS
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as ENCODERS

    kind = config.get("model_type")
    return kind in DECODERS and (kind not in ENCODERS or bool(config.get("is_decoder")))
