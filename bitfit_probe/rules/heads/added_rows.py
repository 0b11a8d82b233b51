"""BP407."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from bitfit_probe.checkpoint import Tensor
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.tensors import is_adapter, word_embedding

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["added_rows"]

#: Cosine to the mean of the old rows above which a row was set to that mean (mean_resizing of transformers
#: draws new rows around it with a covariance of 1e-9 of the old ones).
MEAN = 0.999
#: Relative distance from initializer_range at which the spread of new rows counts as freshly drawn; training
#: at the usual rates for new rows (1e-4 and more) widens it by far more.
FRESH = 0.05
_INITIALIZER_RANGE = 0.02
_MOST_ROWS = 4096


@rule("BP407", "added-rows-untrained", "warning", catalogue=(34,))
def added_rows(pair: Pair, this: Rule) -> Iterator[Finding]:
    """Rows that were added to the embedding never trained.

    What it means
    -------------
    Tokens were added to the tokenizer and rows to the embedding, but the new rows are as the resize left
    them: the mean of the old ones, a fresh draw, or zero.

    Why it matters
    --------------
    The model reads and writes those tokens without knowing them, and with the mean it can't tell them apart.

    How it is recognised
    --------------------
    Of the rows beyond the base's, those that a token of the tokenizer uses: every one has a cosine above
    0.999 to the mean of the old rows; or together they have mean 0 and the spread of ``initializer_range``
    within 5 % and three standard errors; or they are zero. Rows that no token uses pad the table and may be
    anything. Without a tokenizer that can't be told: a note.

    What to do
    ----------
    Make the embedding (and the output layer) trainable: with LoRA, ``modules_to_save=["embed_tokens",
    "lm_head"]`` or ``trainable_token_indices``.

    References
    ----------
    huggingface/peft#2898, huggingface/peft#1457
    """
    table = word_embedding(pair.tuned)
    if is_adapter(pair.tuned) or table is None:
        return
    extra = next(
        (i for i in pair.comparison.unmatched_tuned if i.name == table.name and i.why == "rows"), None
    )
    if extra is None:
        return
    before = table.shape[0] - extra.shape[0]
    tokens = pair.tuned.tokenizer.count
    used = min(tokens or table.shape[0], table.shape[0]) - before
    if used <= 0:
        return
    new, old = _rows(table, before, before + min(used, _MOST_ROWS)), _rows(table, 0, min(before, _MOST_ROWS))
    how = _untrained(new, old.mean(axis=0), _expected(pair))
    if how is None:
        return
    what, evidence = how
    yield this.finding(
        f"The {used} rows that were added to '{table.name}' never trained: {what}.",
        severity="warning" if tokens else "info",
        subjects=(table.name,),
        evidence=(evidence, Evidence("added_rows", used, "rows", about=table.name)),
        advice="Make the embedding and the output layer trainable, or leave the new tokens out.",
    )


def _rows(table: Tensor, start: int, stop: int) -> npt.NDArray[np.float64]:
    width = table.shape[1]
    if not table.is_contiguous:
        return table.rows(stop).values()[start:]
    raw = np.empty((stop - start) * width, table.dtype.storage)
    table.read(start * width, stop * width, raw)
    out = np.empty(raw.size)
    table.dtype.decode(raw, out)
    return out.reshape(stop - start, width)


def _expected(pair: Pair) -> float:
    value = pair.tuned.config.get("initializer_range")
    return float(value) if isinstance(value, int | float) and value > 0 else _INITIALIZER_RANGE


def _untrained(
    new: npt.NDArray[np.float64], mean: npt.NDArray[np.float64], expected: float
) -> tuple[str, Evidence] | None:
    """How the rows still show that nothing trained them, and the number for it; None where they don't."""
    norms = np.linalg.norm(new, axis=1)
    if not norms.any():
        return "they are all zero", Evidence("max_abs", 0.0)
    scale = norms * np.linalg.norm(mean)
    cosines = (new @ mean) / np.where(scale > 0, scale, np.inf)
    if cosines.min() > MEAN:
        least = float(cosines.min())
        return f"each is the mean of the old rows (cosine {least:.4f} or more)", Evidence(
            "least_cosine_to_mean", least
        )
    spread, centre = float(new.std()), float(new.mean())
    error = 3 / np.sqrt(2 * new.size)
    if abs(spread / expected - 1) < min(FRESH + error, 0.15) and abs(centre) < 3 * expected / np.sqrt(
        new.size
    ):
        return (
            f"their spread of {spread:.3g} is that of newly drawn rows ({expected:g})",
            Evidence("standard_deviation", spread),
        )
    return None
