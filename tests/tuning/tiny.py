"""Tiny bases with a tokenizer, and tasks that take a second to learn."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

import pytest

WORDS = [f"w{number}" for number in range(60)]


def tokenizer() -> Any:
    """Whole words, 64 of them with the special ones."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    names = {name: place for place, name in enumerate(["[PAD]", "[CLS]", "[SEP]", "[MASK]", *WORDS])}
    inner = Tokenizer(models.WordLevel(names, unk_token="[PAD]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=24,
    )


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A directory with a tiny base of some kind of `support.builders.MODELS`, made once."""
    from support.builders import model

    made: dict[str, Path] = {}

    def base(kind: str) -> Path:
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(kind) / "base"
            model(kind).save_pretrained(made[kind])
            tokenizer().save_pretrained(made[kind])
        return made[kind]

    return base


def rows(count: int, classes: int = 3, *, pairs: bool = False, seed: int = 5) -> list[dict[str, str]]:
    """Sentences whose first word tells their class."""
    draw = random.Random(seed)
    out = []
    for number in range(count):
        label = number % classes
        words = [WORDS[label], *draw.choices(WORDS[classes:], k=draw.randint(2, 6))]
        row = {"text": " ".join(words), "label": f"c{label}"}
        if pairs:
            row["text_pair"] = " ".join(draw.choices(WORDS[classes:], k=3))
        out.append(row)
    return out


def write_csv(path: Path, table: list[dict[str, str]]) -> Path:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    return path


@pytest.fixture(scope="session")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_csv(tmp_path_factory.mktemp("task") / "task.csv", rows(48))
