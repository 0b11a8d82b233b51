"""Texts as batches of tokens: cut at one limit, each example once, no batch too large."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from bitfit_probe.data import TaskData
from bitfit_probe.errors import ModelError
from bitfit_probe.inference.running import Batch, running

__all__ = ["ENOUGH", "batches", "longest_text", "tokens_of"]

#: Tokens of a batch, padding included: bounds the memory of a pass; larger ones are no faster on a CPU.
_TOKENS = 2048
#: Tokens of a text that say enough where not all of it is asked for.
ENOUGH = 256
#: Tokens of a text for models that know no limit.
_USUAL_LENGTH = 512


def longest_text(model: Any, tokenizer: Any, most: int | None = None) -> int:
    """Tokens at which texts are cut: `most`, or what the tokenizer and the model's positions allow.

    Parameters
    ----------
    tokenizer
        None to ask the model alone.
    most
        None for as many as the model takes, 512 where it knows no limit.

    Raises
    ------
    ModelError
        The model's position table has no row to use.
    """
    config = model.config.get_text_config()
    positions = [getattr(config, name, None) for name in ("max_position_embeddings", "n_positions")]
    usual = _USUAL_LENGTH if not any(positions) else None
    told = None if tokenizer is None else tokenizer.model_max_length
    limits = [most or usual, told, *positions]
    allowed = [size for size in limits if isinstance(size, int | float) and size > 0]
    for name, module in model.named_modules():
        # RoBERTa and those made after it count positions from behind the padding index.
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            allowed.append(module.num_embeddings - module.padding_idx - 1)
    longest = int(min(allowed))
    if longest < 1:
        raise ModelError(
            "its position table has no row behind that of the padding",
            advice="check that config.json belongs to these weights",
        )
    return longest


def tokens_of(data: TaskData, tokenizer: Any, longest: int | None) -> dict[str, list[list[int]]]:
    """What the tokenizer makes of the texts (and pairs), by the model's argument; cut, but not padded."""
    pairs = None if data.pairs is None else list(data.pairs)
    return dict(tokenizer(list(data.texts), pairs, truncation=longest is not None, max_length=longest))


def batches(
    data: TaskData, tokenizer: Any, model: Any, longest: int, rows: Sequence[int] | None = None
) -> list[Batch]:
    """The examples with these numbers (or all), longest first: memory runs out at once or never.

    Raises
    ------
    ModelError
        The tokenizer is not this model's, or fails on the texts.
    """
    rows = range(len(data)) if rows is None else rows
    known = inspect.signature(model.forward).parameters
    with running(model):
        coded = tokens_of(data.take(rows), tokenizer, longest)
        coded = {name: values for name, values in coded.items() if name in known}
        # Without a mask (FNet) padding would be part of the text.
        padded = tokenizer.pad_token is not None and "attention_mask" in coded
        _check_vocabulary(coded["input_ids"], model, tokenizer)
        return [
            Batch(tuple(rows[place] for place in group), _padded(coded, group, tokenizer))
            for group in _cut([len(ids) for ids in coded["input_ids"]], padded)
        ]


def _cut(lengths: Sequence[int], padded: bool) -> list[list[int]]:
    """Places by length; the first of each group sets its width. What can't be padded stands alone."""
    groups: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        if groups and padded and (len(groups[-1]) + 1) * lengths[groups[-1][0]] <= _TOKENS:
            groups[-1].append(place)
        else:
            groups.append([place])
    return groups


def _padded(coded: Mapping[str, list[list[int]]], group: Sequence[int], tokenizer: Any) -> dict[str, Any]:
    part = {name: [values[place] for place in group] for name, values in coded.items()}
    return dict(tokenizer.pad(part, padding=len(group) > 1, return_tensors="pt"))


def _check_vocabulary(ids: Sequence[Sequence[int]], model: Any, tokenizer: Any) -> None:
    rows = model.get_input_embeddings().weight.shape[0]
    if max(max(row, default=0) for row in ids) >= rows:
        raise ModelError(
            f"the tokenizer knows {len(tokenizer):,} tokens, the model {rows:,}",
            advice="give this model's own tokenizer",
        )
