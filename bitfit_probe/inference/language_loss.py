"""How surprised a language model is: one loss, for masked and for next tokens."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bitfit_probe.data import TaskData
from bitfit_probe.errors import ModelError
from bitfit_probe.inference.running import Asked, Batch, logits_of

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

    from bitfit_probe.inference.live import LiveModel

__all__ = ["language_losses", "masked", "next_tokens", "token_losses"]

_SEED = 1
#: The share of tokens that a masked language model is asked for (Devlin et al. 2019, §3.1).
_MASKED = 0.15
#: What torch's cross-entropy leaves out.
_NOTHING = -100


def next_tokens(batch: Batch) -> Asked:
    """Ask for every token but the first of each text; padding is not asked for."""
    real = batch.mask.bool()
    targets = batch.inputs["input_ids"].masked_fill(~real, _NOTHING)
    # A model's answer about a token stands one place before it.
    targets = targets.roll(-1, 1)
    targets[:, -1] = _NOTHING
    return Asked(batch.rows, batch.inputs, targets)


def masked(batch: Batch, tokenizer: Any) -> Asked:
    """Mask 15 % of each text's tokens (at least one) and ask for them; special tokens are left alone.

    The mask depends on the example's number alone, so it is the same in every pass, batch and model.

    Raises
    ------
    ModelError
        The tokenizer has no mask token.
    """
    import torch

    if tokenizer.mask_token_id is None:
        raise ModelError("the tokenizer has no mask token", advice="give the base model's tokenizer")
    ids = batch.inputs["input_ids"]
    special = torch.tensor(sorted(tokenizer.all_special_ids))
    free = batch.mask.bool() & ~torch.isin(ids, special)
    chosen = torch.zeros_like(free)
    for place, row in enumerate(batch.rows):
        where = free[place].nonzero().flatten().tolist()
        count = min(len(where), max(1, round(_MASKED * len(where))))
        chosen[place, random.Random(_SEED * 1_000_003 + row).sample(where, count)] = True
    inputs = {**batch.inputs, "input_ids": ids.masked_fill(chosen, tokenizer.mask_token_id)}
    return Asked(batch.rows, inputs, ids.masked_fill(~chosen, _NOTHING))


def token_losses(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of each text's asked tokens in nats, shape (examples,); 0 where none is asked."""
    from torch.nn.functional import cross_entropy

    each = cross_entropy(logits.transpose(1, 2), targets, reduction="none", ignore_index=_NOTHING)
    return each.sum(1) / _count(targets).clamp(min=1)


def _count(targets: torch.Tensor) -> torch.Tensor:
    return (targets != _NOTHING).sum(1)


def language_losses(live: LiveModel, data: TaskData) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """How surprised a language model is by each text (the first of a pair), and by how many tokens of it.

    Returns
    -------
    tuple of ndarray, shape (examples,) each
        Mean loss a token in nats, NaN where a text has nothing to ask for; and the number of asked tokens.

    Raises
    ------
    ModelError
        The model has no language-model head, or it was drawn at random.
    """
    import torch

    if live.purpose not in ("masked-lm", "causal-lm") or live.head_is_drawn:
        raise ModelError(
            "holds no language-model head", advice="give the pretrained model", path=live.checkpoint.path
        )
    losses, counts = np.full(len(data), np.nan), np.zeros(len(data), np.int64)
    for batch in live.batches(replace(data, pairs=None)):
        asked = next_tokens(batch) if live.purpose == "causal-lm" else masked(batch, live.tokenizer)
        with torch.inference_mode():
            found = token_losses(logits_of(live.model, asked), asked.targets)
        counts[list(batch.rows)] = _count(asked.targets).numpy()
        losses[list(batch.rows)] = found.double().numpy()
    losses[counts == 0] = np.nan
    return losses, counts
