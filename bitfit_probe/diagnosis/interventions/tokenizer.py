"""The same texts in other tokens: the base's tokenizer, other letters, another length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from bitfit_probe.data import TaskData
from bitfit_probe.diagnosis.outcomes import Outcome
from bitfit_probe.diagnosis.step import Change, Step
from bitfit_probe.diagnosis.subject import Subject
from bitfit_probe.errors import ModelError
from bitfit_probe.inference import LiveModel
from bitfit_probe.inference.encoding import longest_text, tokens_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Rows = npt.NDArray[np.int64]

__all__ = ["steps"]

#: Lengths that are tried where texts are that long.
_LENGTHS = (32, 64, 128, 256, 512)
#: A limit that cuts fewer of the texts is none to speak of.
_FEW = 0.05
#: Texts that are looked at to see whether another encoding is another one at all.
_LOOKED_AT = 200


def steps(subject: Subject) -> Iterator[Step]:
    """The base's tokenizer, lower case, and a longer or shorter limit, where these give other tokens."""
    yield from _of_base(subject)
    yield from _lower_case(subject)
    yield from _length(subject)


def _step(
    text: tuple[str, str, str], subject: Subject, live: LiveModel, data: TaskData, change: Change | None
) -> Step:
    def look(rows: Rows | None) -> Outcome:
        return subject.outcome(subject.run(rows, live, data), rows)

    name, title, how = text
    return Step(name, title, how, look, change=None if change is None else lambda: change)


def _of_base(subject: Subject) -> Iterator[Step]:
    base, tuned = subject.pair.base.folder, subject.live
    other = replace(tuned, folders=(base, *tuned.folders))
    try:
        same = _coded(other, subject.data) == _coded(tuned, subject.data)
    except ModelError:  # the base has none, or one of another size
        return
    if not same:
        yield _step(
            (
                "base-tokenizer",
                "Take the base's tokenizer",
                "the tokenizer files of the base take the place of those beside the tuned weights",
            ),
            subject,
            other,
            subject.data,
            Change(tokenizer=base),
        )


def _lower_case(subject: Subject) -> Iterator[Step]:
    lower = replace(
        subject.data,
        texts=tuple(text.lower() for text in subject.data.texts),
        pairs=None if subject.data.pairs is None else tuple(text.lower() for text in subject.data.pairs),
    )
    if _coded(subject.live, lower) != _coded(subject.live, subject.data):
        yield _step(
            (
                "lower-case",
                "Lower-case the texts",
                "texts are lower-cased before they are cut into tokens: by the program, or a normalizer",
            ),
            subject,
            subject.live,
            lower,
            None,
        )


def _length(subject: Subject) -> Iterator[Step]:
    """Other limits than the tokenizer's own, as far as the model's positions reach."""
    live = subject.live
    limit = live.longest(whole=True)
    reach = longest_text(live.model, None)
    lengths = sorted(map(len, subject.tokens))
    usual = lengths[int(len(lengths) * (1 - _FEW))]
    for length in sorted({*(at for at in _LENGTHS if at < usual), min(reach, lengths[-1])}):
        if length < min(limit, usual) or min(limit, lengths[-1]) < length:
            yield _step(
                (
                    f"length-{length}",
                    f"Cut texts at {length} tokens",
                    f"the tokenizer's model_max_length becomes {length} instead of {limit}",
                ),
                subject,
                replace(live, limit=length),
                subject.data,
                Change(tokenizer_config={"model_max_length": length}),
            )


def _coded(live: LiveModel, data: TaskData) -> list[list[int]]:
    few = data.take(range(min(len(data), _LOOKED_AT)))
    found = tokens_of(few, live.tokenizer, live.longest(whole=True))["input_ids"]
    if (
        max((max(row, default=0) for row in found), default=0)
        >= live.model.get_input_embeddings().weight.shape[0]
    ):
        raise ModelError(
            "the tokenizer knows more tokens than the model", advice="give this model's own tokenizer"
        )
    return found
