"""A pair whose biases matter by plan: one decides the class, one moved for nothing, the others rest."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch
from support.builders import State, config_of, copied, model, write
from support.texts import WORDS, write_rows, write_tokenizer

IMPORTANT = "bert.encoder.layer.1.output.LayerNorm.bias"  # LN2 1
IRRELEVANT = "bert.encoder.layer.0.attention.output.dense.bias"  # m1 0


def texts(count: int, seed: int = 0) -> list[str]:
    """Sentences of 2 to 12 words."""
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(2, 12))) for _ in range(count)]


def logits(tuned: Any, sentences: list[str]) -> torch.Tensor:
    """The model's answers, one sentence at a time, without any padding."""
    number = {word: place for place, word in enumerate(WORDS, 5)}
    ids = ([2, *(number[word] for word in sentence.split()), 3] for sentence in sentences)
    with torch.no_grad():
        return torch.cat([tuned(torch.tensor([row])).logits for row in ids])


def loaded(tensors: State) -> Any:
    """The tiny BERT with these weights."""
    filled = model("bert")
    filled.load_state_dict(tensors)
    return filled


def planted_pair(folder: Path, count: int = 400) -> tuple[Path, Path, Path]:
    """Base, tuned, and a CSV of `count` texts that the tuned model gets right.

    The head leans on a direction into which one bias was shifted far: without that shift the classes are
    others. Another bias moved by a ten thousandth.
    """
    noise, tuned = torch.Generator().manual_seed(5), model("bert").state_dict()
    tuned = copied(dict(tuned))
    tuned["classifier.weight"] = 8 * torch.randn(2, 32, generator=noise)
    sentences = texts(count)
    answers = logits(loaded(tuned), sentences)
    tuned["classifier.bias"][0] -= (answers[:, 0] - answers[:, 1]).quantile(0.5)  # both as often
    base = copied(tuned)
    base[IMPORTANT] -= 2 * torch.randn(32, generator=noise)
    base[IRRELEVANT] -= 1e-4 * torch.randn(32, generator=noise)
    classes = logits(loaded(tuned), sentences).argmax(1).tolist()
    settings = config_of("bert", id2label={"0": "zero", "1": "one"}, label2id={"zero": 0, "one": 1})
    write(folder / "base", base, settings)
    write(folder / "tuned", tuned, settings)
    write_tokenizer(folder / "tuned")
    rows = [(text, ["zero", "one"][c]) for text, c in zip(sentences, classes, strict=True)]
    return folder / "base", folder / "tuned", write_rows(folder / "data.csv", rows)
