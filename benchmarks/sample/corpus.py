"""From documents to tokenizer, token arrays and masked batches.

A batch is a pure function of the seed and the step, so an interrupted run continues exactly
where it stopped with nothing but the step number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from fetch import Document
from tokenizers import Tokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import WordPieceTrainer
from transformers import BertTokenizer

__all__ = [
    "CLS",
    "MASK",
    "PAD",
    "SEP",
    "SPECIAL_TOKENS",
    "Batch",
    "TokenCorpus",
    "make_batch",
    "make_tokenizer",
    "split_documents",
    "tokenize",
]

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PAD, UNK, CLS, SEP, MASK = range(5)

_SENTENCE_END = re.compile(r"(?<=[.!?;])[\"')]*\s+(?=[A-Z\"'(])|\n+")

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TokenCorpus:
    """Documents end to end, with the places where sentences and documents begin."""

    tokens: IntArray
    sentence_starts: IntArray
    document_ends: IntArray
    """For every sentence, the offset at which its document ends."""
    source_of: IntArray
    """For every sentence, the number of its source."""
    vocabulary: int


@dataclass(frozen=True)
class Batch:
    """Inputs of one step, and the masked places flattened to ``row * length + column``."""

    input_ids: torch.Tensor
    token_type_ids: torch.Tensor
    masked_at: torch.Tensor
    masked_ids: torch.Tensor
    is_random_next: torch.Tensor


def split_documents(found: list[Document], share: float, seed: int) -> tuple[list[Document], list[Document]]:
    """Hold out ``share`` of each source's documents."""
    rng = np.random.default_rng([seed, 0])
    kept: list[Document] = []
    held: list[Document] = []
    for source in sorted({document.source for document in found}):
        of_source = [document for document in found if document.source == source]
        chosen = set(rng.permutation(len(of_source))[: round(share * len(of_source))].tolist())
        for place, document in enumerate(of_source):
            (held if place in chosen else kept).append(document)
    return kept, held


def make_tokenizer(found: list[Document], size: int, vocabulary: Path, folder: Path) -> BertTokenizer:
    """Save a lower-cased WordPiece tokenizer into ``folder``.

    The file ``vocabulary`` is trained on ``found`` where it is absent. It is kept under version
    control because the trainer orders single characters differently from run to run, and the ids
    belong to the weights.
    """
    if not vocabulary.exists():
        _train_vocabulary(found, size, vocabulary)
    pieces = vocabulary.read_text(encoding="utf-8").splitlines()
    ids = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = _with_berts_steps(WordPiece(ids, unk_token="[UNK]"))
    fast = BertTokenizer(tokenizer_object=tokenizer, do_lower_case=True, model_max_length=128)
    fast.save_pretrained(folder)
    return fast


def _train_vocabulary(found: list[Document], size: int, vocabulary: Path) -> None:
    tokenizer = _with_berts_steps(WordPiece(unk_token="[UNK]"))
    trainer = WordPieceTrainer(
        vocab_size=size,
        min_frequency=2,
        special_tokens=SPECIAL_TOKENS,
        continuing_subword_prefix="##",
        show_progress=False,
    )
    tokenizer.train_from_iterator([document.text for document in found], trainer)
    ids = tokenizer.get_vocab()
    lines = [f"{piece}\n" for piece in sorted(ids, key=ids.__getitem__)]
    vocabulary.write_text("".join(lines), encoding="utf-8")


def _with_berts_steps(model: WordPiece) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.decoder = WordPieceDecoder(prefix="##")
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)],
    )
    return tokenizer


def tokenize(found: list[Document], tokenizer: BertTokenizer) -> TokenCorpus:
    """Tokenize sentence by sentence, keeping the order of the text."""
    sources = sorted({document.source for document in found})
    pieces: list[IntArray] = []
    starts: list[int] = []
    ends: list[int] = []
    source_of: list[int] = []
    offset = 0
    for document in found:
        sentences = [part for part in _SENTENCE_END.split(document.text) if part.strip()]
        rows = tokenizer(sentences, add_special_tokens=False, verbose=False)["input_ids"]
        rows = [row for row in rows if row]
        end = offset + sum(len(row) for row in rows)
        for row in rows:
            starts.append(offset)
            ends.append(end)
            source_of.append(sources.index(document.source))
            pieces.append(np.asarray(row, dtype=np.int64))
            offset += len(row)
    return TokenCorpus(
        tokens=np.concatenate(pieces),
        sentence_starts=np.asarray(starts),
        document_ends=np.asarray(ends),
        source_of=np.asarray(source_of),
        vocabulary=len(tokenizer),
    )


def make_batch(corpus: TokenCorpus, rows: int, length: int, seed: tuple[int, ...]) -> Batch:
    """Draw ``rows`` sequences ``[CLS] A [SEP] B [SEP]`` and mask 15 % of their tokens."""
    rng = np.random.default_rng(seed)
    ids = np.full((rows, length), PAD, dtype=np.int64)
    types = np.zeros((rows, length), dtype=np.int64)
    random_next = np.zeros(rows, dtype=np.int64)
    for row, (first, second, is_random) in enumerate(_pairs(corpus, rows, length, rng)):
        middle = len(first) + 2
        ids[row, :middle] = [CLS, *first, SEP]
        ids[row, middle : middle + len(second) + 1] = [*second, SEP]
        types[row, middle:] = 1
        random_next[row] = is_random
    masked, at = _mask(ids, corpus.vocabulary, rng)
    flat = torch.from_numpy(at)
    original = torch.from_numpy(ids).view(-1)
    return Batch(
        input_ids=torch.from_numpy(masked),
        token_type_ids=torch.from_numpy(types),
        masked_at=flat,
        masked_ids=original[flat],
        is_random_next=torch.from_numpy(random_next),
    )


def _pairs(
    corpus: TokenCorpus, rows: int, length: int, rng: np.random.Generator
) -> Iterator[tuple[IntArray, IntArray, bool]]:
    """Yield A, B and whether B was drawn at random instead of following A."""
    starts, ends = corpus.sentence_starts, corpus.document_ends
    room = length - 3
    made = 0
    while made < rows:
        sentence = int(rng.integers(len(starts)))
        start, end = int(starts[sentence]), int(ends[sentence])
        if end - start < length:
            continue
        # A ends with the last whole sentence that fits the budget, or is cut if none does.
        budget = int(rng.integers(room // 4, 3 * room // 4 + 1))
        following = int(np.searchsorted(starts, start + budget, side="right")) - 1
        following = max(following, sentence + 1)
        size = min(budget, int(starts[following]) - start)
        second = int(starts[following])
        is_random = bool(rng.random() < 0.5)
        if is_random:
            # From the same source: telling Melville from Brown would be no task at all.
            same = np.flatnonzero(corpus.source_of == corpus.source_of[sentence])
            other = int(same[rng.integers(len(same))])
            second, end = int(starts[other]), int(ends[other])
        if end - second < room - size:
            continue
        made += 1
        first = corpus.tokens[start : start + size]
        yield first, corpus.tokens[second : second + room - size], is_random


def _mask(ids: IntArray, vocabulary: int, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Choose 15 % of the real tokens; 80 % become [MASK], 10 % a random token, 10 % stay."""
    candidates = np.flatnonzero(ids.ravel() >= len(SPECIAL_TOKENS))
    count = round(0.15 * candidates.size)
    at = np.sort(rng.choice(candidates, size=count, replace=False))
    masked = ids.ravel().copy()
    kind = rng.random(count)
    masked[at[kind < 0.8]] = MASK
    swapped = at[(kind >= 0.8) & (kind < 0.9)]
    masked[swapped] = rng.integers(len(SPECIAL_TOKENS), vocabulary, size=swapped.size)
    return masked.reshape(ids.shape), at
