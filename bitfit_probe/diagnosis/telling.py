"""Examples and parts of the examples that tell something: worst, flipped, and where the model does badly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from bitfit_probe.diagnosis.outcomes import Outcome
from bitfit_probe.diagnosis.subject import Subject
from bitfit_probe.measures.intervals import Interval, mean_interval
from bitfit_probe.records.diagnosis import Example, Slice

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]
    Rows = npt.NDArray[np.int64]

__all__ = ["examples", "flips", "parts_of", "slices", "worst"]

#: Examples of a kind that are shown, and letters of a text.
_SHOWN, _LETTERS = 5, 120
#: A part of fewer examples tells nothing.
_FEWEST = 15


def worst(subject: Subject, *, texts: bool) -> tuple[Example, ...]:
    """The examples with the highest loss."""
    return examples(subject, np.argsort(-subject.before.losses, kind="stable")[:_SHOWN], texts=texts)


def flips(subject: Subject, probe: Outcome | None, *, right: bool, texts: bool) -> tuple[Example, ...]:
    """Examples that the tuned model gets right and the base's probe wrong; the reverse with `right` False."""
    if probe is None or not subject.classifies:
        return ()
    ours, theirs = subject.before.scores > 0, probe.scores > 0
    rows = np.flatnonzero(ours & ~theirs if right else theirs & ~ours)
    order = rows[np.argsort(-subject.before.losses[rows], kind="stable")]
    return examples(subject, order[:_SHOWN], texts=texts)


def examples(subject: Subject, rows: Rows, *, texts: bool) -> tuple[Example, ...]:
    """These examples as they are shown."""
    names: Mapping[int, str] = subject.live.model.config.id2label if subject.classifies else {}

    def said(value: float) -> str:
        return str(names.get(int(value), int(value))) if subject.classifies else f"{value:.3g}"

    found = []
    for row in map(int, rows):
        text = subject.data.texts[row]
        if subject.data.pairs is not None:
            text = f"{text} | {subject.data.pairs[row]}"
        answers = subject.served.logits[row]
        answer = (
            float(answers.argmax()) if subject.classifies else float(answers[0]) if answers.size else None
        )
        found.append(
            Example(
                row,
                (text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…") if texts else None,
                said(float(subject.targets[row])) if len(subject.targets) else "",
                "" if answer is None else said(answer),
                float(subject.before.losses[row]),
            )
        )
    return tuple(found)


def slices(subject: Subject) -> tuple[Slice, ...]:
    """Parts that do worse than the other examples by more than noise, with all parts counted; worst first."""
    parts = list(parts_of(subject))
    found = [
        part
        for name, inside in parts
        if (part := _against_rest(name, inside, subject.before.scores, 1 - 0.05 / len(parts))).interval[1] < 0
    ]
    return tuple(sorted(found, key=lambda part: part.difference))


def parts_of(subject: Subject) -> Iterator[tuple[str, Flags]]:
    """Parts of the examples by length, unknown tokens, class, and nearness to texts of the training."""
    every = (*_by_length(subject), *_by_class(subject), *_unknown(subject), *_repeated(subject))
    count = len(subject.data)
    yield from ((name, inside) for name, inside in every if _FEWEST <= inside.sum() <= count - _FEWEST)


def _against_rest(name: str, inside: Flags, scores: Floats, confidence: float) -> Slice:
    part, rest = scores[inside], scores[~inside]
    difference = float(part.mean() - rest.mean())
    low, high = _reach(part, confidence)
    other_low, other_high = _reach(rest, confidence)
    # Both means vary: their reaches add as squares (Newcombe 1998, method 10, by any interval of a mean).
    interval = (difference - float(np.hypot(low, other_high)), difference + float(np.hypot(high, other_low)))
    return Slice(name, int(inside.sum()), float(part.mean()), difference, interval)


def _reach(scores: Floats, confidence: float) -> Interval:
    """How far the interval of the mean reaches below and above it."""
    from bitfit_probe.diagnosis.quality import rate_interval

    if set(np.unique(scores)) <= {0.0, 1.0}:
        low, high = rate_interval(int(scores.sum()), len(scores), confidence)
    else:
        low, high = mean_interval(scores, confidence)
    return float(scores.mean()) - low, high - float(scores.mean())


def _by_length(subject: Subject) -> Iterator[tuple[str, Flags]]:
    lengths = np.array([len(ids) for ids in subject.tokens])
    low, high = np.quantile(lengths, [0.25, 0.75])
    yield f"texts of at most {low:.0f} tokens", lengths <= low
    yield f"texts of at least {high:.0f} tokens", lengths >= high
    limit = subject.live.longest(whole=True)
    yield f"texts that are cut at {limit} tokens", lengths > limit


def _by_class(subject: Subject) -> Iterator[tuple[str, Flags]]:
    if subject.classifies:
        names = subject.live.model.config.id2label
        for place in np.unique(subject.targets):
            yield f"class {names.get(int(place), int(place))}", subject.targets == place


def _unknown(subject: Subject) -> Iterator[tuple[str, Flags]]:
    unknown = subject.live.tokenizer.unk_token_id
    if unknown is not None:
        yield "texts with unknown tokens", np.array([unknown in ids for ids in subject.tokens])


def _repeated(subject: Subject) -> Iterator[tuple[str, Flags]]:
    """Texts that are much like none of the training's: what remains where near-duplicates are left out."""
    if subject.train is None:
        return
    known = [_shingles(text) for text in subject.train.texts]
    index: dict[str, list[int]] = {}
    for number, shingles in enumerate(known):
        for shingle in shingles:
            index.setdefault(shingle, []).append(number)
    far = np.array([not _has_near(_shingles(text), known, index) for text in subject.data.texts])
    yield "texts unlike any of the training's", far
    yield "texts much like one of the training's", ~far


def _shingles(text: str) -> frozenset[str]:
    letters = " ".join(text.casefold().split())
    return frozenset(letters[at : at + 5] for at in range(max(len(letters) - 4, 1)))


def _has_near(shingles: frozenset[str], known: list[frozenset[str]], index: dict[str, list[int]]) -> bool:
    """Whether some text shares half of the letters' five-grams (Broder 1997's resemblance)."""
    shared: dict[int, int] = {}
    for shingle in shingles:
        for number in index.get(shingle, ()):
            shared[number] = shared.get(number, 0) + 1
    return any(2 * count >= len(shingles | known[number]) for number, count in shared.items())
