"""A frozen model as a feature extractor: texts in, pooled hidden states of every layer out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bitfit_probe.checkpoint import Checkpoint, open_checkpoint
from bitfit_probe.data import TaskData
from bitfit_probe.errors import ModelError
from bitfit_probe.inference import load_model, longest_text, padding_tokenizer, running

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

__all__ = ["Batch", "Encoder", "Pooling", "Progress", "is_causal", "open_encoder"]

#: How one vector is made of a text's token vectors.
Pooling = Literal["mean", "first", "last"]
#: Called with the examples done and the examples to do.
Progress = Callable[[int, int], None]

#: Tokens a batch: bounds the memory of a forward and a backward pass.
_TOKENS_A_BATCH = 2048
_LONGEST = 256


@dataclass(frozen=True)
class Batch:
    """Some examples, padded to the longest of them.

    Attributes
    ----------
    where
        Their numbers in the data.
    inputs
        What the model takes: ``input_ids``, ``attention_mask`` and so on, shape (examples, tokens).
    """

    where: tuple[int, ...]
    inputs: dict[str, torch.Tensor]


@dataclass(frozen=True)
class Encoder:
    """A frozen model with its tokenizer.

    Attributes
    ----------
    model
        A bare ``PreTrainedModel`` in evaluation mode, float32.
    tokenizer
        Its tokenizer.
    pooling
        ``mean`` over tokens for encoders, ``last`` token for decoders.
    checkpoint
        The files behind it.
    """

    model: Any
    tokenizer: Any
    pooling: Pooling
    checkpoint: Checkpoint

    def encode(self, data: TaskData) -> dict[str, list[list[int]]]:
        """Token ids of the texts (and pairs), cut at what the model takes."""
        pairs = list(data.pairs) if data.pairs is not None else None
        with running(self.model):
            encoded = self.tokenizer(list(data.texts), pairs, truncation=True, max_length=self.longest)
        return {str(name): values for name, values in encoded.items()}

    @property
    def longest(self) -> int:
        """Tokens at which texts are cut: the model's positions, at most 256."""
        return longest_text(self.model, self.tokenizer, _LONGEST)

    def batches(self, data: TaskData) -> Iterator[Batch]:
        """The examples in batches of about equal length, longest first: memory runs out at once or never."""
        encoded = self.encode(data)
        lengths = [len(ids) for ids in encoded["input_ids"]]
        order = sorted(range(len(data)), key=lambda i: -lengths[i])
        start = 0
        while start < len(order):
            count = max(_TOKENS_A_BATCH // max(lengths[order[start]], 1), 1)
            where = tuple(order[start : start + count])
            start += count
            part = {name: [values[i] for i in where] for name, values in encoded.items()}
            padded = self.tokenizer.pad(part, padding=True, return_tensors="pt")
            yield Batch(where, dict(padded))

    def pool(self, hidden: torch.Tensor, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """One vector a text, shape (examples, width), of token vectors (examples, tokens, width)."""
        mask = inputs["attention_mask"].to(hidden.dtype)
        if self.pooling == "first":
            return hidden[:, 0]
        if self.pooling == "last":
            ends = (mask * mask.cumsum(1)).argmax(1)
            return hidden.gather(1, ends[:, None, None].expand(-1, 1, hidden.shape[-1]))[:, 0]
        return (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)

    def features(self, data: TaskData, progress: Progress | None = None) -> npt.NDArray[np.float32]:
        """Pooled hidden states of all layers.

        Returns
        -------
        ndarray of float32, shape (layers + 1, examples, width)
            The first is the embeddings' output, the last the model's.
        """
        import torch

        out: npt.NDArray[np.float32] | None = None
        done = 0
        with torch.inference_mode(), running(self.model):
            for batch in self.batches(data):
                states = self.model(**batch.inputs, output_hidden_states=True).hidden_states
                pooled = torch.stack([self.pool(state, batch.inputs) for state in states]).numpy()
                if out is None:
                    out = np.empty((len(states), len(data), pooled.shape[-1]), np.float32)
                out[:, list(batch.where)] = pooled
                done += len(batch.where)
                if progress is not None:
                    progress(done, len(data))
        assert out is not None
        return out


def open_encoder(path: str | Path, pooling: Pooling | None = None) -> Encoder:
    """Load the model in `path` without its head, and its tokenizer.

    Raises
    ------
    ModelError
        It can't be loaded, or is an encoder–decoder.
    MissingExtraError
        torch or transformers is not installed.
    """
    checkpoint = open_checkpoint(path)
    model = load_model(checkpoint, purpose="features").model
    if model.config.is_encoder_decoder:
        raise ModelError(
            "is an encoder-decoder, whose features are not defined here",
            advice="give an encoder or a decoder",
            path=path,
        )
    tokenizer = padding_tokenizer(checkpoint.folder)
    tokenizer.padding_side = "right"
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    causal = is_causal(model.config.to_dict())
    return Encoder(model, tokenizer, pooling or ("last" if causal else "mean"), checkpoint)


def is_causal(config: Mapping[str, Any]) -> bool:
    """Whether tokens see only those before them: transformers' decoders say so by their family."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as DECODERS
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as ENCODERS

    kind = config.get("model_type")
    return kind in DECODERS and (kind not in ENCODERS or bool(config.get("is_decoder")))
