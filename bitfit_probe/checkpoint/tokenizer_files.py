"""What the tokenizer's files say: how many tokens there are, which are special, what is done to the text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from bitfit_probe.frozen import Frozen

__all__ = ["SPECIAL", "TOKENIZER_FILES", "Tokenizer", "ids_in", "read_tokenizer"]

SPECIAL = ("pad", "bos", "eos")
#: Files that it is read from.
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "added_tokens.json")
_STEPS = ("normalizer", "pre_tokenizer", "post_processor", "truncation")
#: transformers writes int(1e30) where a tokenizer knows no longest input.
_NO_LIMIT = 1 << 40
_MAX_VOCABULARY = 64 << 20


class Tokenizer(Frozen):
    """What lies in the tokenizer's files.

    Attributes
    ----------
    tokens
        Ids by token, added ones included; empty where no file says.
    added
        Those that were added to the model's own vocabulary.
    settings
        tokenizer_config.json; empty where there is none.
    steps
        What tokenizer.json does to a text before it cuts it and to the tokens after; None where nothing.
    lower_cases
        Which file says that text is lower-cased; None where none does.
    longest
        Most tokens that it lets pass; None where it has no limit.
    """

    tokens: Mapping[str, int] = field(default_factory=dict)
    added: frozenset[str] = frozenset()
    settings: Mapping[str, Any] = field(default_factory=dict)
    steps: Mapping[str, Any] = field(default_factory=dict)
    lower_cases: str | None = None
    longest: int | None = None

    @property
    def count(self) -> int:
        """One more than the largest id."""
        return max(self.tokens.values(), default=-1) + 1

    def special(self, purpose: str) -> str | None:
        """The token for `purpose` (``pad``, ``bos``, ``eos``)."""
        token = self.settings.get(f"{purpose}_token")
        token = token.get("content") if isinstance(token, dict) else token
        return token if isinstance(token, str) else None

    def special_id(self, purpose: str) -> int | None:
        """Its id, where both token and vocabulary are known."""
        token = self.special(purpose)
        return self.tokens.get(token) if token is not None else None


def read_tokenizer(folder: Path, read_json: Callable[[str], dict[str, Any] | None]) -> Tokenizer:
    """Read the tokenizer's files in a folder, JSON ones by `read_json`; an empty one where there are none."""
    whole = read_json("tokenizer.json") or {}
    settings = read_json("tokenizer_config.json") or {}
    tokens = dict(_vocabulary(whole)) or dict(_lines(folder / "vocab.txt"))
    tokens = tokens or dict(_numbers(read_json("vocab.json") or {}))
    added = dict(_added(whole, settings, read_json("added_tokens.json") or {}))
    longest = settings.get("model_max_length")
    usable = isinstance(longest, int | float) and 0 < longest < _NO_LIMIT
    return Tokenizer(
        tokens={**tokens, **added},
        steps={name: whole.get(name) for name in _STEPS} if whole else {},
        added=frozenset(added),
        settings=settings,
        lower_cases=_lower_cases(whole, settings),
        longest=int(longest) if usable and longest is not None else None,
    )


def ids_in(config: Mapping[str, Any], purpose: str) -> set[int]:
    """Ids that a config gives for `purpose`; one of them, a list, or none."""
    value = config.get(f"{purpose}_token_id")
    values = value if isinstance(value, list) else [value]
    return {number for number in values if isinstance(number, int) and not isinstance(number, bool)}


def _vocabulary(whole: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    model = whole.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocabulary, dict):
        yield from _numbers(vocabulary)
    elif isinstance(vocabulary, list):  # Unigram: pairs of token and score
        for number, entry in enumerate(vocabulary):
            if isinstance(entry, list) and entry and isinstance(entry[0], str):
                yield entry[0], number


def _numbers(vocabulary: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    yield from ((str(token), number) for token, number in vocabulary.items() if type(number) is int)


def _lines(path: Path) -> Iterator[tuple[str, int]]:
    try:
        if path.stat().st_size > _MAX_VOCABULARY:
            return
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    yield from ((token, number) for number, token in enumerate(text.split("\n")) if token)


def _added(
    whole: Mapping[str, Any], settings: Mapping[str, Any], beside: Mapping[str, Any]
) -> Iterator[tuple[str, int]]:
    yield from _numbers(beside)
    entries = whole.get("added_tokens")
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and type(entry.get("id")) is int and isinstance(entry.get("content"), str):
            yield entry["content"], entry["id"]
    decoder = settings.get("added_tokens_decoder")
    for number, entry in decoder.items() if isinstance(decoder, dict) else ():
        if isinstance(entry, dict) and isinstance(entry.get("content"), str) and str(number).isdecimal():
            yield entry["content"], int(number)


def _lower_cases(whole: Mapping[str, Any], settings: Mapping[str, Any]) -> str | None:
    """Which file decides that text is lower-cased, as transformers 5 reads them.

    BERT's tokenizers build their own normalizer from the flag; a class of no model takes tokenizer.json's.
    """
    flag, name = settings.get("do_lower_case"), settings.get("tokenizer_class")
    own = (
        isinstance(name, str) and not name.startswith(("PreTrained", "Tokenizers")) and isinstance(flag, bool)
    )
    if own or not whole:
        return "tokenizer_config.json" if flag is True else None
    return "tokenizer.json" if any(_lowers(step) for step in _steps(whole.get("normalizer"))) else None


def _lowers(step: Mapping[str, Any]) -> bool:
    kind = step.get("type")
    return kind == "Lowercase" or (kind == "BertNormalizer" and step.get("lowercase") is True)


def _steps(normalizer: Any) -> Iterator[Mapping[str, Any]]:
    """The steps of a normalizer, those inside a sequence as well."""
    if not isinstance(normalizer, dict):
        return
    yield normalizer
    inner = normalizer.get("normalizers")
    for step in inner if isinstance(inner, list) else ():
        yield from _steps(step)
