"""Facts that two files of a folder state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.builders import config_of, state, write

from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.checkpoint.model_card import read_card
from bitfit_probe.promises import Case, promises_of


def facts(folder: Path, **config: Any) -> dict[str, str]:
    """What is promised of facts, and whether it is kept, of a BERT in `folder`."""
    write(folder, state("bert"), config_of("bert", **config))
    items = promises_of(Case(open_checkpoint(folder))).items
    return {item.expected: item.state for item in items if item.topic == "facts"}


@pytest.mark.parametrize(("steps", "expected"), [(500, "kept"), (400, "broken")])
def test_the_step_of_the_folder_and_of_the_log(tmp_path: Path, steps: int, expected: str) -> None:
    folder = tmp_path / "checkpoint-500"
    folder.mkdir()
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": steps}))
    assert facts(folder)["the step 500"] == expected


def test_the_number_of_labels(tmp_path: Path) -> None:
    names = {"0": "a", "1": "b", "2": "c"}
    assert facts(tmp_path / "m", id2label=names, num_labels=2)["the number of labels 3"] == "broken"


def test_special_tokens_of_two_configurations(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, 2], "pad_token_id": 9}))
    found = facts(folder)
    assert (found["the eos token's id 2"], found["the pad token's id 0"]) == ("kept", "broken")


def test_the_base_of_an_adapter_and_of_its_card(tmp_path: Path) -> None:
    stem = "base_model.model.bert.encoder.layer.0.attention.self.query.lora_"
    source = state("bert")["bert.encoder.layer.0.attention.self.query.weight"]
    write(
        tmp_path / "adapter_model.safetensors",
        {f"{stem}A.weight": source[:2], f"{stem}B.weight": source[:, :2]},
    )
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 2}

    def state_of(card: str, name: str = "google/bert-base") -> list[str]:
        stated = settings | {"base_model_name_or_path": name}
        (tmp_path / "adapter_config.json").write_text(json.dumps(stated))
        (tmp_path / "README.md").write_text(card)
        items = promises_of(Case(open_checkpoint(tmp_path))).items
        return [item.state for item in items if item.topic == "facts"]

    assert state_of("---\nbase_model: google/bert-base\n---\n") == ["kept"]
    assert state_of("---\nbase_model:\n- other/bert-large\n---\n") == ["broken"]
    assert state_of("no front matter") == []
    card = "---\nbase_model: google/bert-base\n---\n"
    assert state_of(card, "/cache/bert-base") == ["kept"]
    paths = ("../base", "./out/base", "/data/models/base", "~/base", "base", "C:\\models\\base")
    assert [state_of(card, path) for path in paths] == [[]] * len(paths)


def test_words_of_a_card(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("---\nlicense: mit\ntags:\n- lora\n- \"peft\"\nbase_model: 'a/b'\n---\n# Title\n- item\n")
    assert read_card(path) == {"license": ("mit",), "tags": ("lora", "peft"), "base_model": ("a/b",)}
    path.write_text("- lora\n---\n")
    assert read_card(path) == {}
