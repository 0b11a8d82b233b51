"""Small tokenizers for the zoo's models, as the files that transformers keeps beside the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

WORDS = [
    "the",
    "a",
    "of",
    "to",
    "in",
    "and",
    "is",
    "it",
    "was",
    "he",
    "for",
    "on",
    "are",
    "as",
    "with",
    "his",
    "they",
    "at",
    "be",
    "this",
    "from",
    "have",
    "or",
    "by",
    "one",
]
SIZE = 60


@dataclass(frozen=True)
class Vocabulary:
    """Special tokens by what they are for, and tokens in the order of their ids."""

    special: dict[str, str]
    tokens: tuple[str, ...]
    lower_case: bool = False

    @property
    def ids(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self.tokens)}

    def id(self, purpose: str) -> int:
        return self.ids[self.special[purpose]]

    def files(self, longest: int) -> dict[str, Any]:
        """tokenizer.json and tokenizer_config.json for inputs of at most `longest` tokens."""
        kind = "BertNormalizer" if self.lower_case else "NFC"
        normalizer: dict[str, Any] = {"type": kind}
        if self.lower_case:
            normalizer |= {"clean_text": True, "handle_chinese_chars": True, "strip_accents": None}
            normalizer["lowercase"] = True
        added = [
            {"id": number, "content": token, "special": True, "normalized": False}
            | dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
            for token, number in self.ids.items()
            if token in self.special.values()
        ]
        settings: dict[str, Any] = {f"{name}_token": token for name, token in self.special.items()}
        settings |= {"model_max_length": longest, "tokenizer_class": "PreTrainedTokenizerFast"}
        if self.lower_case:
            settings["do_lower_case"] = True
        model = {"type": "WordLevel", "vocab": self.ids, "unk_token": self.special["unk"]}
        return {
            "tokenizer.json": {
                "version": "1.0",
                "truncation": None,
                "padding": None,
                "added_tokens": added,
                "normalizer": normalizer,
                "pre_tokenizer": {"type": "Whitespace"},
                "post_processor": None,
                "decoder": None,
                "model": model,
            },
            "tokenizer_config.json": settings,
        }


def _tokens(first: tuple[str, ...], last: tuple[str, ...] = ()) -> tuple[str, ...]:
    words = dict.fromkeys(f"{word}{ending}" for ending in ("", "s", "ed", "ing") for word in WORDS)
    return (*first, *list(words)[: SIZE - len(first) - len(last)], *last)


_BERT = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
_ROBERTA = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "mask": "<mask>"}
_LLAMA = {"unk": "<unk>", "bos": "<s>", "eos": "</s>", "pad": "<pad>"}
_END, _PAD = "<|endoftext|>", "<|pad|>"

VOCABULARIES = {
    "bert": Vocabulary(_BERT, _tokens(tuple(_BERT.values())), lower_case=True),
    "roberta": Vocabulary(
        _ROBERTA | {"cls": "<s>", "sep": "</s>"}, _tokens(tuple(_ROBERTA.values())[:4], ("<mask>",))
    ),
    "gpt2": Vocabulary({"unk": _END, "bos": _END, "eos": _END, "pad": _PAD}, _tokens((), (_END, _PAD))),
    "llama": Vocabulary(_LLAMA, _tokens(tuple(_LLAMA.values()))),
}
