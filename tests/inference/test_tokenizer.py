"""Tokenizers from model directories, also from those that hold a vocabulary and nothing else."""

from __future__ import annotations

import json

import pytest
from support.texts import SPECIAL, write_tokenizer

from bitfit_probe import sample
from bitfit_probe.errors import ModelError
from bitfit_probe.inference import load_tokenizer

PIECES = (*SPECIAL, "the", "cat", "##s", "sat")


def folder_with(tmp_path, words, **config):
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    if config:
        (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


def test_the_tokenizer_of_the_sample():
    tokenizer = load_tokenizer(sample.base_path())
    assert tokenizer("Who ?").input_ids[0] == tokenizer.cls_token_id
    assert tokenizer.pad_token == "[PAD]"


def test_a_tokenizer_json_without_a_config(tmp_path):
    tokenizer = load_tokenizer(write_tokenizer(tmp_path))
    assert tokenizer("word05 word63 nothing").input_ids == [2, 5, 63, 1, 3]


@pytest.mark.parametrize("config", [{}, {"hidden_size": 8}, {"model_type": "bert"}])
def test_a_vocabulary_of_word_pieces_is_enough(tmp_path, config):
    """As of old BERT checkpoints: no model_type, no tokenizer_config.json."""
    tokenizer = load_tokenizer(folder_with(tmp_path, PIECES, **config))
    assert tokenizer.tokenize("The cats sat") == ["the", "cat", "##s", "sat"]
    assert tokenizer("cats").input_ids == [2, 6, 7, 3]


def test_a_vocabulary_with_capitals_is_not_lower_cased(tmp_path):
    tokenizer = load_tokenizer(folder_with(tmp_path, (*PIECES, "The")))
    assert tokenizer.tokenize("The the") == ["The", "the"]


@pytest.mark.parametrize("lower", [True, False])
def test_lower_casing_as_the_config_says(tmp_path, lower):
    folder_with(tmp_path, (*PIECES, "The"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lower}))
    assert load_tokenizer(tmp_path).tokenize("The") == (["the"] if lower else ["The"])


def test_the_length_that_the_model_takes(tmp_path):
    tokenizer = load_tokenizer(folder_with(tmp_path, PIECES, max_position_embeddings=24))
    assert tokenizer.model_max_length == 24


def test_a_vocabulary_of_something_else_is_an_error(tmp_path):
    """Molecules are cut by a pattern that no file holds: BERT's tokenizer would find unknown tokens only."""
    with pytest.raises(ModelError, match="no word pieces") as caught:
        load_tokenizer(folder_with(tmp_path, (*SPECIAL, "C", "c", "(", ")"), model_type="bert"))
    assert caught.value.code == "BE500"


def test_no_tokenizer_at_all_is_an_error(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="no tokenizer could be loaded"):
        load_tokenizer(tmp_path)


def test_no_code_of_a_directory_runs(tmp_path):
    marker = tmp_path / "ran"
    (tmp_path / "tok.py").write_text(f"open({str(marker)!r}, 'w')\nclass T: pass\n")
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"auto_map": {"AutoTokenizer": ["tok.T", None]}})
    )
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError):
        load_tokenizer(tmp_path)
    assert not marker.exists()
