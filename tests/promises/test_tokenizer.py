"""The tokenizer's files and the labels against the base's, and against the model where it is judged alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.builders import config_of, move, state, write
from support.checking import run_rules

from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.promises import Case, promises_of
from bitfit_probe.records import Finding

_WORDS = [f"w{number}" for number in range(60)]


def vocabulary() -> dict[str, int]:
    return {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *_WORDS])}


def tokenizer(**changes: Any) -> dict[str, Any]:
    """A tokenizer.json of 64 tokens; the file needs no more for what is read of it."""
    return {
        "model": {"type": "WordPiece", "vocab": vocabulary()},
        "normalizer": {"type": "BertNormalizer", "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
    } | changes


def lay(folder: Path, whole: dict[str, Any], **settings: Any) -> None:
    (folder / "tokenizer.json").write_text(json.dumps(whole))
    special = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(special | settings))


@pytest.fixture
def broken(tmp_path: Path) -> Callable[..., list[Finding]]:
    def found(
        whole: dict[str, Any], kind: str = "bert", code: str = "BP710", **settings: Any
    ) -> list[Finding]:
        base = write(tmp_path / "base", state(kind), config_of(kind))
        tuned = write(tmp_path / "tuned", move(state(kind), *state(kind)), config_of(kind))
        lay(base, tokenizer())
        lay(tuned, whole, **settings)
        return [item for item in run_rules(base, tuned).findings if item.code == "BP710"]

    return found


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_ids_that_changed_places(broken: Callable[..., list[Finding]], kind: str) -> None:
    moved = vocabulary() | {"w0": 5, "w1": 4}
    (finding,) = broken(tokenizer(model={"type": "BPE", "vocab": moved}), kind)
    assert "other ids for 2 of 64: 'w0' is 5 instead of 4" in finding.message
    assert (finding.severity, finding.subjects) == ("error", ("w0", "w1"))


def test_lower_casing_that_was_switched_off(broken: Callable[..., list[Finding]]) -> None:
    (finding,) = broken(tokenizer(normalizer={"type": "BertNormalizer", "lowercase": False}))
    assert "promises texts in lower case; found: texts as they are written" in finding.message


def test_another_way_to_cut(broken: Callable[..., list[Finding]]) -> None:
    (finding,) = broken(tokenizer(pre_tokenizer={"type": "Whitespace"}))
    assert (finding.severity, finding.subjects) == ("warning", ("pre_tokenizer",))


def template(*pieces: str) -> dict[str, Any]:
    text = {"Sequence": {"id": "A", "type_id": 0}}
    return {
        "type": "TemplateProcessing",
        "single": [text if piece == "A" else {"SpecialToken": {"id": piece}} for piece in pieces],
    }


def test_a_step_of_another_family_that_was_lost(tmp_path: Path) -> None:
    """Beside a RoBERTa whose tokens are framed by RobertaProcessing inside a sequence."""
    frame = {"type": "RobertaProcessing", "cls": ["[CLS]", 2], "sep": ["[SEP]", 3]}
    whole = {"type": "Sequence", "processors": [{"type": "ByteLevel"}, frame]}
    base = write(tmp_path / "base", state("roberta"), config_of("roberta"))
    tuned = write(tmp_path / "tuned", move(state("roberta"), *state("roberta")), config_of("roberta"))
    lay(base, tokenizer(post_processor=whole))

    def found(**changes: Any) -> list[tuple[str, tuple[str, ...]]]:
        lay(tuned, {key: step for key, step in tokenizer(**changes).items() if step != "left out"})
        return [
            (item.severity, item.subjects) for item in run_rules(base, tuned).findings if item.code == "BP710"
        ]

    lost = ("tokenizer.json: post_processor",)
    assert found() == found(post_processor=None) == [("error", lost)]
    assert found(post_processor=template("[CLS]", "A", "[SEP]")) == []
    assert found(post_processor=template("[CLS]", "A", "[SEP]", "[SEP]")) == [("warning", lost)]
    assert found(post_processor=whole, pre_tokenizer="left out") == [("warning", ("pre_tokenizer",))]
    cut = {"max_length": 4, "strategy": "LongestFirst", "stride": 0}
    assert found(post_processor=whole, truncation=cut) == [("info", ("tokenizer.json: truncation",))]


def test_an_unknown_token_of_another_name_is_an_error_and_a_pad_token_is_not(
    broken: Callable[..., list[Finding]],
) -> None:
    found = broken(tokenizer(), unk_token="[PAD]", pad_token="[UNK]")
    assert [(item.severity, item.subjects) for item in found] == [
        ("error", ("unk_token",)),
        ("info", ("pad_token",)),
    ]


def test_tokens_that_were_added_are_no_difference(broken: Callable[..., list[Finding]]) -> None:
    added = [{"id": 3, "content": "[SEP]"}]
    assert broken(tokenizer(added_tokens=added), model_max_length=512) == []


def test_alone_the_ids_are_held_against_the_table(tmp_path: Path) -> None:
    path = write(tmp_path / "one", state("bert"), config_of("bert"))
    lay(path, tokenizer(model={"type": "WordPiece", "vocab": vocabulary() | {"far": 99}}))
    (item,) = promises_of(Case(open_checkpoint(path))).of("broken")
    assert (item.topic, item.expected) == ("tokenizer", "ids up to 99")


@pytest.mark.parametrize(("labels", "broken"), [(2, False), (3, True)])
def test_alone_the_labels_are_held_against_the_head(tmp_path: Path, labels: int, broken: bool) -> None:
    names = {str(number): f"l{number}" for number in range(labels)}
    config = config_of("bert", architectures=["BertForSequenceClassification"], id2label=names)
    path = write(tmp_path / "one", state("bert"), config)
    found = [item.topic for item in promises_of(Case(open_checkpoint(path))).of("broken")]
    assert found == (["labels"] if broken else [])


def test_labels_with_other_numbers_than_in_the_base(tmp_path: Path) -> None:
    def config(*names: str) -> dict[str, Any]:
        return config_of(
            "bert",
            architectures=["BertForSequenceClassification"],
            id2label={str(number): name for number, name in enumerate(names)},
            label2id={name: number for number, name in enumerate(names)},
        )

    base = write(tmp_path / "base", state("bert"), config("no", "yes"))
    tuned = write(tmp_path / "tuned", move(state("bert"), *state("bert")), config("yes", "no"))
    (finding,) = (item for item in run_rules(base, tuned).findings if item.code == "BP711")
    assert "'yes' is 0 instead of 1" in finding.message
