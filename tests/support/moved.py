"""Tiny models of several families all of whose biases moved, with texts for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from support.builders import BERT, GPT2, copied, write
from support.planted import texts
from support.texts import write_rows, write_tokenizer

MODELS = {
    "bert": ("BertForSequenceClassification", BERT),
    "roberta": ("RobertaForSequenceClassification", BERT),
    "gpt2": ("GPT2LMHeadModel", GPT2),
    "gpt_neox": ("GPTNeoXForCausalLM", BERT),
    "deberta_v2": (
        "DebertaV2ForSequenceClassification",
        BERT | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "max_relative_positions": 12},
    ),
}


def built(kind: str) -> Any:
    """The model with noise on every parameter, the biases' as large as the matrices'."""
    name, settings = MODELS[kind]
    cls = getattr(transformers, name)
    torch.manual_seed(3)
    model = cls(cls.config_class(**settings)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def write_pair(folder: Path, kind: str) -> tuple[Path, Path, Path]:
    """A base, and a tuned model all of whose biases outside the head moved by a half."""
    model, noise = built(kind), torch.Generator().manual_seed(4)
    model.save_pretrained(folder / "tuned")
    state = dict(model.named_parameters())
    base = copied({name: values.detach() for name, values in state.items()})
    for name, values in base.items():
        if values.ndim == 1 and name.endswith("bias"):
            base[name] = values + 0.5 * torch.randn(values.shape, generator=noise)
    write(folder / "base", base, json.loads((folder / "tuned" / "config.json").read_text()))
    write_tokenizer(folder / "tuned")
    rows = [(text, number % 2) for number, text in enumerate(texts(40))]
    return folder / "base", folder / "tuned", write_rows(folder / "data.csv", rows)
