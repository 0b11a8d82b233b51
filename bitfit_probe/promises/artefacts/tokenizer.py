"""The tokenizer's files: ids within the table of words, and what the base's tokenizer makes of a text."""

from __future__ import annotations

import filecmp
from collections.abc import Iterator, Mapping
from typing import Any

from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.checkpoint.tokenizer_files import TOKENIZER_FILES, Tokenizer
from bitfit_probe.promises.case import Case, word_embedding
from bitfit_probe.records import Severity
from bitfit_probe.records.promises import Promise
from bitfit_probe.wording import join_names, plural

__all__ = ["promises"]

_BASES = "the base's tokenizer"
_OTHER_ROWS = "the model reads other rows of its table than it was trained with"
_FIRST = "which tokenizer the training texts went through"
#: Tokens whose purpose another one may serve after training on chats or with padding: a note.
_MAY_CHANGE = ("pad", "bos", "eos")
_SPECIAL = (*_MAY_CHANGE, "unk", "cls", "sep", "mask")
#: With fewer tokens in common it is another vocabulary, for which the table was made anew.
_ANOTHER = 0.5
#: Settings and steps that cut a text in another way.
_FLAGS = ("add_bos_token", "add_eos_token", "add_prefix_space", "strip_accents", "tokenize_chinese_chars")
_CUTTING = ("normalizer", "pre_tokenizer")


def promises(case: Case) -> Iterator[Promise]:
    """Rows for all ids where it is judged alone; else the base's ids, casing, special tokens and template."""
    if case.base is None:
        yield from _rows(case, case.tuned.tokenizer)
        return
    if _same_files(case.base, case.tuned):
        yield Promise("tokenizer", _BASES, "the same files", "the same bytes", "kept")
        return
    before, ours = case.base.tokenizer, case.tuned.tokenizer
    if ours.tokens and before.tokens:
        yield _ids(before, ours)
        yield _casing(before, ours)
        yield from _specials(before, ours)
        yield from _cuts(before, ours)
        yield from _frame(before, ours)


def _same_files(base: Checkpoint, tuned: Checkpoint) -> bool:
    """Whether both have the same files, byte for byte: a vocabulary is long to parse."""
    both = [(base.folder / name, tuned.folder / name) for name in TOKENIZER_FILES]
    there = [pair for pair in both if any(path.is_file() for path in pair)]
    return bool(there) and all(
        all(path.is_file() for path in pair) and filecmp.cmp(*pair, shallow=False) for pair in there
    )


def _rows(case: Case, ours: Tokenizer) -> Iterator[Promise]:
    table = word_embedding(case.tuned)
    if table is None or not ours.tokens or not case.is_model:
        return
    beyond = ours.count > table.shape[0]
    yield Promise(
        "tokenizer",
        "the tokenizer",
        f"ids up to {ours.count - 1:,}",
        f"'{table.name}' with {table.shape[0]:,} rows",
        "broken" if beyond else "kept",
        loader="a text with the last tokens stops the model with an index error",
        first="whether the table was resized to len(tokenizer)",
        subjects=(table.name,),
    )


def _ids(before: Tokenizer, ours: Tokenizer) -> Promise:
    common = [token for token in before.tokens if token in ours.tokens]
    moved = [token for token in common if before.tokens[token] != ours.tokens[token]]
    expected = f"the ids of {plural(len(before.tokens), 'token')}"
    if len(common) < _ANOTHER * len(before.tokens):
        return Promise(
            "tokenizer", _BASES, expected, f"another vocabulary, with {len(common):,} of them", "untold"
        )
    if not moved:
        return Promise("tokenizer", _BASES, expected, f"{len(common):,} of them, all the same", "kept")
    token = moved[0]
    example = f"'{token[:20]}' is {ours.tokens[token]:,} instead of {before.tokens[token]:,}"
    return Promise(
        "tokenizer",
        _BASES,
        expected,
        f"other ids for {len(moved):,} of {len(common):,}: {example}",
        "broken",
        loader=_OTHER_ROWS,
        first=_FIRST,
        subjects=tuple(moved),
    )


def _casing(before: Tokenizer, ours: Tokenizer) -> Promise:
    was, now = (tokenizer.lower_cases is not None for tokenizer in (before, ours))
    words = {True: "texts in lower case", False: "texts as they are written"}
    return Promise(
        "tokenizer",
        _BASES,
        words[was],
        words[now],
        "kept" if was == now else "broken",
        loader="words with capitals become other tokens, or unknown ones",
        first="do_lower_case, and the normalizer in tokenizer.json",
        subjects=("tokenizer_config.json", "tokenizer.json"),
    )


def _specials(before: Tokenizer, ours: Tokenizer) -> Iterator[Promise]:
    for purpose in _SPECIAL:
        was, now = before.special(purpose), ours.special(purpose)
        if was is None or now is None:
            continue
        source, expected = f"{_BASES}: {purpose}_token", f"'{was[:40]}'"
        if was == now:
            yield Promise("tokenizer", source, expected, "the same", "kept")
            continue
        severity: Severity = "info" if purpose in _MAY_CHANGE else "error"
        yield Promise(
            "tokenizer",
            source,
            expected,
            f"'{now[:40]}'",
            "broken",
            loader=f"texts are framed by a token that pretraining did not use as {purpose}",
            first=_FIRST,
            severity=severity,
            subjects=(f"{purpose}_token",),
        )


def _cuts(before: Tokenizer, ours: Tokenizer) -> Iterator[Promise]:
    """Flags and steps that cut a text in another way; a template that was there and is another."""
    differ = [flag for flag in _FLAGS if _differ(before.settings, ours.settings, flag)]
    steps = [step for step in _CUTTING if before.steps and ours.steps]
    differ += [step for step in steps if _uncased(before.steps[step]) != _uncased(ours.steps[step])]
    yield Promise(
        "tokenizer",
        _BASES,
        "texts cut in its way",
        f"other {' and '.join(differ)}" if differ else "the same settings and steps",
        "broken" if differ else "kept",
        loader="texts become other tokens than pretraining saw",
        first=_FIRST,
        severity="warning",
        subjects=tuple(differ),
    )
    if _differ(before.settings, ours.settings, "chat_template"):
        yield Promise(
            "tokenizer",
            f"{_BASES}: chat_template",
            "its template",
            "another one",
            "broken",
            loader="prompts are framed as the tuned files say",
            first="the template that training used",
            severity="info",
            subjects=("chat_template",),
        )


def _frame(before: Tokenizer, ours: Tokenizer) -> Iterator[Promise]:
    """Special tokens that are put around a text, and where texts are cut off."""
    if not before.steps or not ours.steps:
        return
    was, now = (list(_added(side.steps["post_processor"])) for side in (before, ours))
    if was or now:
        yield Promise(
            "tokenizer",
            f"{_BASES}: post_processor",
            f"{join_names(was, 4) or 'nothing'} around a text",
            "the same" if was == now else f"{join_names(now, 4) or 'nothing'}",
            "kept" if was == now else "broken",
            loader="the model reads texts that are framed in another way than it was trained on",
            first="post_processor in tokenizer.json",
            severity="error" if set(was) - set(now) else "warning",
            subjects=("tokenizer.json: post_processor",),
        )
    lengths = [_most(side.steps["truncation"]) for side in (before, ours)]
    if lengths[0] != lengths[1]:
        yield Promise(
            "tokenizer",
            f"{_BASES}: truncation",
            lengths[0],
            lengths[1],
            "broken",
            loader="transformers sets a length of its own, the tokenizers library takes the file's",
            first="the length that training used",
            severity="info",
            subjects=("tokenizer.json: truncation",),
        )


def _added(step: Any) -> Iterator[str]:
    """Tokens that a post-processor adds to one text, in its order, whichever of its forms says so."""
    if not isinstance(step, dict):
        return
    for inner in _list(step, "processors"):
        yield from _added(inner)
    for kind in ("cls", "sep"):  # of BertProcessing and RobertaProcessing: a token and its id
        yield from map(str, _list(step, kind)[:1])
    for piece in _list(step, "single"):
        token = piece.get("SpecialToken") if isinstance(piece, dict) else None
        if isinstance(token, dict):
            yield str(token.get("id"))


def _list(step: Mapping[str, Any], key: str) -> list[Any]:
    found = step.get(key)
    return found if isinstance(found, list) else []


def _most(step: Any) -> str:
    return (
        f"texts of {step.get('max_length')} tokens at most" if isinstance(step, dict) else "no longest text"
    )


def _differ(before: Mapping[str, Any], ours: Mapping[str, Any], key: str) -> bool:
    was, now = before.get(key), ours.get(key)
    return was is not None and now is not None and was != now


def _uncased(step: Any) -> Any:
    """A step of tokenizer.json without what `_casing` has judged."""
    plain = dict(step) if isinstance(step, dict) else {"": step}
    return {key: value for key, value in plain.items() if key != "lowercase"}
