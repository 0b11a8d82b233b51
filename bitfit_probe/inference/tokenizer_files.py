"""Which of a directory's files and settings make its tokenizer: transformers sees no others."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from bitfit_probe.checkpoint.interface import read_json
from bitfit_probe.inference.tokenizer_json import check_tokenizer_json

__all__ = ["has_vocabulary", "is_tokenizer_class", "plain_tokenizer_settings", "stage", "tokenizer_files"]

#: Vocabularies, as transformers' tokenizers call them; copied as they are.
_VOCABULARIES = (
    "bpe.codes",
    "byte_maps.json",
    "dict.txt",
    "emoji.json",
    "entity_vocab.json",
    "merges.txt",
    "monolingual_vocab.txt",
    "normalizer.json",
    "prophetnet.tokenizer",
    "sentencepiece.bpe.model",
    "sentencepiece.model",
    "source.spm",
    "spiece.model",
    "spm.model",
    "spm_char.model",
    "target.spm",
    "target_vocab.json",
    "tekken.json",
    "tiktoken.model",
    "tokenizer.model",
    "vocab-src.json",
    "vocab-tgt.json",
    "vocab.json",
    "vocab.txt",
    "word_pronunciation.json",
    "word_shape.json",
)
_WHOLE, _SETTINGS, _SPECIAL, _ADDED = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
_TEMPLATE, _TEMPLATES = "chat_template.jinja", "additional_chat_templates"
#: A million entries, as the largest vocabularies have, are 60 MB of tokenizer.json.
_MOST_BYTES, _MOST_OF_A_TEMPLATE = 128 << 20, 1 << 20

_TOKEN_LISTS = ("additional_special_tokens", "extra_special_tokens")
_TOKEN_KEYS = ("__type", "content", "lstrip", "normalized", "rstrip", "single_word", "special")
#: Settings that are a plain word; those that are lists of them.
_WORD_KEYS = (
    "errors",
    "language",
    "padding_side",
    "source_lang",
    "special_tokens_pattern",
    "src_lang",
    "target_lang",
    "task",
    "tgt_lang",
    "token_type_ids_pattern",
    "truncation_side",
)
_WORD_LISTS = ("model_input_names", "never_split")
_WORD = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
#: Switches of the loader itself.
_SWITCHES = ("is_local", "local_files_only", "trust_remote_code", "from_slow", "use_fast")


def tokenizer_files(folder: Path) -> list[Path]:
    """The files of a directory that make its tokenizer, its chat template among them."""
    names = (*_VOCABULARIES, _WHOLE, _SETTINGS, _SPECIAL, _ADDED, _TEMPLATE)
    return [folder / name for name in names if (folder / name).is_file()]


def has_vocabulary(folder: Path) -> bool:
    """Whether a folder has files that a tokenizer is made from; its settings alone are none."""
    return any((folder / name).is_file() for name in (_WHOLE, *_VOCABULARIES))


def stage(folder: Path, place: Path) -> None:
    """Copy a tokenizer's files into the empty folder `place`; of settings, what is on the list.

    Raises
    ------
    ValueError
        They hold what is not read: too much, code of their own instead of a vocabulary, or a pattern that
        may run without end.
    """
    for name in _VOCABULARIES:
        _copied(folder / name, place / name, _MOST_BYTES)
    settings = _object(folder / _SETTINGS)
    whole = _content(folder / _WHOLE, _MOST_BYTES)
    if whole is not None:
        check_tokenizer_json(whole)
        (place / _WHOLE).write_bytes(whole)
    elif _names_code(settings):
        raise ValueError("it needs code of its own, which is not run")
    _written(place / _SETTINGS, plain_tokenizer_settings(settings))
    _written(place / _SPECIAL, dict(_tokens(_object(folder / _SPECIAL))))
    _written(place / _ADDED, {k: v for k, v in _object(folder / _ADDED).items() if type(v) is int})
    _copied(folder / _TEMPLATE, place / _TEMPLATE, _MOST_OF_A_TEMPLATE)
    if (folder / _TEMPLATES).is_dir():
        (place / _TEMPLATES).mkdir()
        for file in sorted((folder / _TEMPLATES).glob("*.jinja"))[:64]:
            _copied(file, place / _TEMPLATES / file.name, _MOST_OF_A_TEMPLATE)


def plain_tokenizer_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What of a tokenizer_config.json is passed on: tokens, numbers, switches, plain words and templates."""
    passed = dict(_tokens(settings))
    for key, value in settings.items():
        if key in passed or key.startswith("_") or key in _SWITCHES or key.endswith("_token"):
            continue
        if (
            (isinstance(value, bool | int | float) or value is None)
            or (key in _WORD_KEYS and isinstance(value, str) and _WORD.fullmatch(value))
            or (key in _WORD_LISTS and _all(value, lambda word: isinstance(word, str)))
            or (key == "tokenizer_class" and is_tokenizer_class(value))
            or (key == "chat_template" and isinstance(value, str | list))
        ):
            passed[key] = value
    return passed


@cache
def _classes() -> frozenset[str]:
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

    names = {name.removesuffix("Fast") for name in TOKENIZER_MAPPING_NAMES.values() if name}
    names |= {"PreTrainedTokenizer", "PythonBackend", "SentencePieceBackend", "TokenizersBackend"}
    return frozenset(names - {"MistralCommonBackend"})


def is_tokenizer_class(name: Any) -> bool:
    """Whether a name is one of transformers' own tokenizers: any other of its classes would be called too."""
    return isinstance(name, str) and name.removesuffix("Fast") in _classes()


def _tokens(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The settings that are tokens."""
    for key, value in settings.items():
        if key in _TOKEN_LISTS:
            entries = list(value.values()) if isinstance(value, dict) else value
            if _all(entries, _is_token):
                yield key, value
        elif key == "added_tokens_decoder" and isinstance(value, dict):
            if all(str(number).isdecimal() and _is_token(token) for number, token in value.items()):
                yield key, value
        elif key.endswith("_token") and _NAME.fullmatch(key) and (value is None or _is_token(value)):
            yield key, value


def _is_token(value: Any) -> bool:
    if isinstance(value, dict):
        plain = all(isinstance(entry, bool | str) for entry in value.values())
        return plain and set(value) <= set(_TOKEN_KEYS) and isinstance(value.get("content"), str)
    return isinstance(value, str)


def _all(values: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(values, list) and all(map(fits, values))


def _names_code(settings: Mapping[str, Any]) -> bool:
    named = settings.get("auto_map")
    return bool(named.get("AutoTokenizer")) if isinstance(named, dict) else bool(named)


def _content(path: Path, most: int) -> bytes | None:
    """A file's bytes; None where there is none."""
    if not path.is_file():
        return None
    if path.stat().st_size > most:
        raise ValueError(
            f"{path.name} has {path.stat().st_size:,} bytes, more than the {most:,} that are read"
        )
    return path.read_bytes()


def _copied(source: Path, target: Path, most: int) -> None:
    content = _content(source, most)
    if content is not None:
        shutil.copyfile(source, target)


def _object(path: Path) -> dict[str, Any]:
    return read_json(path) or {}


def _written(path: Path, settings: Mapping[str, Any]) -> None:
    if settings:
        path.write_text(json.dumps(settings), encoding="utf-8")
