"""A tokenizer's directory names no class, no file and no code that is used, and can't stop the clock."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.texts import SPECIAL, WORDS, write_tokenizer

from bitfit_probe import sample
from bitfit_probe.errors import ModelError
from bitfit_probe.inference import load_tokenizer
from bitfit_probe.inference.tokenizer_files import is_tokenizer_class, plain_tokenizer_settings


def changed(folder: Path, name: str, **changes) -> Path:
    path = folder / name
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | changes))
    return folder


def trapped(folder: Path) -> Path:
    for name in ("tok", "tokenization_evil", "modeling_evil", "configuration_evil"):
        (folder / f"{name}.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\nclass T: pass\n")
    return folder


@pytest.mark.parametrize(
    "said",
    [
        {"auto_map": {"AutoTokenizer": ["tok.T", "tok.T"]}},
        {"auto_map": ["tok.T", "tok.T"], "trust_remote_code": True},
        {"tokenizer_class": "tok.T"},
        {"tokenizer_class": "AutoModel"},
        {"tokenizer_class": "Trainer"},
        {"tokenizer_file": "/etc/passwd", "vocab_file": "/etc/passwd", "merges_file": "/etc/passwd"},
        {
            "name_or_path": "evil/x",
            "gguf_file": "evil.gguf",
            "init_inputs": ["evil/x"],
            "_commit_hash": "evil",
        },
        {"fast_tokenizer_files": ["tokenizer.evil.json"], "backend": "mistral-common"},
        {"sp_model_kwargs": {"model_file": "/etc/passwd"}, "extra": {"a": "http://evil"}},
    ],
    ids=str,
)
def test_what_a_tokenizer_config_names_is_not_used(tmp_path, said):
    """The vocabulary of the directory itself is, and nothing of the directory is imported."""
    folder = trapped(changed(write_tokenizer(tmp_path), "tokenizer_config.json", **said))
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"} | said))
    tokenizer = load_tokenizer(folder)
    assert tokenizer("word05 word63").input_ids == [2, 5, 63, 3]
    assert tokenizer.name_or_path == str(folder)
    assert not (folder / "ran").exists()


def test_code_instead_of_a_vocabulary_is_an_error(tmp_path):
    changed(trapped(tmp_path), "tokenizer_config.json", auto_map={"AutoTokenizer": ["tok.T", None]})
    (tmp_path / "vocab.json").write_text('{"a": 0, "b": 1}')
    with pytest.raises(ModelError, match="needs code of its own, which is not run"):
        load_tokenizer(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_the_special_tokens_map_sets_tokens_alone(tmp_path):
    folder = write_tokenizer(tmp_path)
    (folder / "special_tokens_map.json").write_text(
        json.dumps({"eos_token": "word07", "tokenizer_file": "/etc/passwd", "vocab_file": "/etc/passwd"})
    )
    assert load_tokenizer(folder).eos_token_id == 7


def test_settings_of_the_sample_pass_unchanged():
    """All that transformers wrote, but the loader's own switches and names."""
    said = json.loads((sample.tuned_path() / "tokenizer_config.json").read_text())
    passed = plain_tokenizer_settings(said)
    left = {key: value for key, value in said.items() if key not in passed}
    assert all(key in ("backend", "is_local", "local_files_only", "name_or_path") for key in left), left
    assert all(passed[key] == said[key] for key in passed)


@pytest.mark.parametrize(
    "name", ["BertTokenizer", "BertTokenizerFast", "GPT2Tokenizer", "PreTrainedTokenizerFast"]
)
def test_classes_of_tokenizers(name):
    assert is_tokenizer_class(name)
    assert not is_tokenizer_class(name.replace("Tokenizer", "Model"))


@pytest.mark.parametrize(
    "pattern",
    [
        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
        "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
        "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:'s|'t)?",
        " {2,}",
        "(?:\\r\\n)+",
        "[(]+[)*]+",
    ],
)
def test_patterns_of_real_tokenizers_pass(tmp_path, pattern):
    """GPT-2's, Llama 3's, o200k's, and brackets that open no group."""
    cut = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    load_tokenizer(changed(write_tokenizer(tmp_path), "tokenizer.json", pre_tokenizer=cut))


@pytest.mark.parametrize(
    ("part", "step"),
    [
        (
            "pre_tokenizer",
            {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False},
        ),
        (
            "pre_tokenizer",
            {"type": "Split", "pattern": {"Regex": "(a|aa)*b"}, "behavior": "Isolated", "invert": False},
        ),
        ("normalizer", {"type": "Replace", "pattern": {"Regex": "((x*)y?){3,}"}, "content": ""}),
        (
            "normalizer",
            {
                "type": "Sequence",
                "normalizers": [{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}] * 60,
            },
        ),
    ],
)
def test_what_may_take_forever_is_refused(tmp_path, part, step):
    """Doubling with every letter, or sixty times in a row."""
    folder = changed(write_tokenizer(tmp_path), "tokenizer.json", **{part: step})
    with pytest.raises(ModelError, match=r"take forever|without bound") as caught:
        load_tokenizer(folder)
    assert caught.value.code == "BE500"


@pytest.mark.parametrize(
    "content",
    ["[]", "{", "null", '{"model": 3}', '{"added_tokens": [{"id": "x"}]}', "[" * 100_000, '{"version": "9"}'],
)
def test_a_tokenizer_that_is_none_is_an_error(tmp_path, content):
    write_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ModelError, match="no tokenizer could be loaded") as caught:
        load_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_bare_vocabulary_takes_no_odd_switch(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join((*SPECIAL, "the", "##s", *WORDS)))
    changed(tmp_path, "tokenizer_config.json", do_lower_case={"evil": 1}, model_max_length="evil")
    assert load_tokenizer(tmp_path).tokenize("the") == ["the"]
