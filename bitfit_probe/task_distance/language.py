"""How surprised the model is: its own language-model loss on the task's texts and on the reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bitfit_probe.errors import ModelError
from bitfit_probe.inference import load_model, running
from bitfit_probe.task_distance.encoder import Encoder

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["language_losses", "loss_gap"]

#: Share of tokens that are masked, as in BERT's pretraining (Devlin et al. 2019, §3.1).
_MASKED = 0.15


def language_losses(
    encoder: Encoder, *samples: Sequence[str], seed: int = 0
) -> list[npt.NDArray[np.float64]] | None:
    """Mean loss a token of each text, in nats.

    None where the checkpoint has no language-model head, or a sample holds nothing to ask about (the
    tokenizer knows none of its words).

    Encoders are asked for 15 % of the tokens, masked at random (one pass); decoders for each next token.

    Parameters
    ----------
    encoder
        The model; its checkpoint is loaded anew with its head.
    *samples
        Texts; each sample is masked from the same seed.

    Returns
    -------
    list of ndarray, shape (texts,)
        One a sample; NaN where a text is too short to ask about.
    """
    causal = encoder.pooling == "last"
    try:
        loaded = load_model(encoder.checkpoint, purpose="causal-lm" if causal else "masked-lm")
    except ModelError:
        return None
    if any("bias" not in name for name in loaded.missing):  # a head made up at random knows nothing
        return None
    ask = _causal if causal else _masked

    def losses(texts: Sequence[str]) -> npt.NDArray[np.float64]:
        random = np.random.default_rng(seed)
        with running(loaded.model):
            return np.array([ask(loaded.model, encoder, text, random) for text in texts])

    found = [losses(texts) for texts in samples]
    return found if all(np.isfinite(values).any() for values in found) else None


def _masked(model: Any, encoder: Encoder, text: str, random: np.random.Generator) -> float:
    import torch

    tokenizer = encoder.tokenizer
    inputs = tokenizer(text, truncation=True, max_length=encoder.longest, return_tensors="pt")
    ids = inputs["input_ids"][0]
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    candidates = torch.nonzero(~special)[:, 0].numpy()
    if not len(candidates):
        return math.nan
    chosen = random.choice(candidates, max(1, round(_MASKED * len(candidates))), replace=False)
    answers = ids[chosen].clone()
    ids[chosen] = tokenizer.mask_token_id
    with torch.inference_mode():
        logits = model(**inputs).logits[0, chosen]
        return float(torch.nn.functional.cross_entropy(logits, answers))


def _causal(model: Any, encoder: Encoder, text: str, random: np.random.Generator) -> float:
    import torch

    inputs = encoder.tokenizer(text, truncation=True, max_length=encoder.longest, return_tensors="pt")
    ids = inputs["input_ids"][0]
    if len(ids) < 2:
        return math.nan
    with torch.inference_mode():
        logits = model(**inputs).logits[0]
        return float(torch.nn.functional.cross_entropy(logits[:-1], ids[1:]))


def loss_gap(
    ours: npt.NDArray[np.float64], reference: npt.NDArray[np.float64], *, seed: int = 0, repeats: int = 2000
) -> tuple[float, tuple[float, float]]:
    """Mean loss on the task minus mean loss on the reference, with a bootstrap interval, in nats a token."""
    first, second = (losses[np.isfinite(losses)] for losses in (ours, reference))
    random = np.random.default_rng(seed)
    gaps = [_resampled_mean(first, random) - _resampled_mean(second, random) for _ in range(repeats)]
    low, high = (float(q) for q in np.quantile(gaps, [0.025, 0.975]))
    return float(first.mean() - second.mean()), (low, high)


def _resampled_mean(values: npt.NDArray[np.float64], random: np.random.Generator) -> float:
    return float(random.choice(values, len(values)).mean())
