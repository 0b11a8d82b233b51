"""A model with its tokenizer and what it is for, made once from a checkpoint and what lies beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bitfit_probe.architectures import classifiers
from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.data import TaskData
from bitfit_probe.data.labels import listed
from bitfit_probe.errors import ModelError
from bitfit_probe.inference.config import open_config
from bitfit_probe.inference.encoding import ENOUGH, batches, longest_text
from bitfit_probe.inference.loading import load_model
from bitfit_probe.inference.purpose import Purpose, is_causal, purpose_of
from bitfit_probe.inference.running import Batch, logits_of, running
from bitfit_probe.inference.tokenizer import padding_tokenizer, tokenizer_folder
from bitfit_probe.inference.weights import plainly_named

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

__all__ = ["LiveModel", "Pooling", "Progress"]

#: How one vector is made of a text's token vectors.
Pooling = Literal["mean", "first", "last"]
#: Called with the examples done and the examples to do.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class LiveModel:
    """A model in evaluation mode, float32; no parameter asks for a gradient.

    Attributes
    ----------
    model
        The ``PreTrainedModel``.
    purpose
        Which head it has.
    checkpoint
        The files behind it.
    folders
        Where its tokenizer is looked for.
    missing
        Parameters that the checkpoint does not hold: they are as they were initialised.
    pooling
        How one vector is made of a text: the ``mean`` over tokens for encoders, the ``last`` for decoders.
    unexpected
        Tensors of the checkpoint that the model has no place for.
    limit
        Tokens at which whole texts are cut; None for what tokenizer and model allow.
    """

    model: Any
    purpose: Purpose
    checkpoint: Checkpoint
    folders: tuple[Path, ...]
    missing: tuple[str, ...] = ()
    pooling: Pooling = "mean"
    unexpected: tuple[str, ...] = ()
    limit: int | None = None

    @classmethod
    def of(cls, checkpoint: Checkpoint, *folders: str | Path | None) -> LiveModel:
        """Load a checkpoint with the head that its config.json names and its tensors have.

        Parameters
        ----------
        checkpoint
            An open checkpoint of a whole model.
        *folders
            Where config.json and the tokenizer are looked for, in this order (None is skipped); beside the
            weights where none is given.

        Raises
        ------
        ModelError
            It is an adapter, there is no config.json, or the weights don't fit it.
        MissingExtraError
            torch or transformers is not installed.
        """
        if checkpoint.adapter is not None:
            raise ModelError(
                "is an adapter, which is no model by itself",
                advice="merge it into the base (peft's merge_and_unload) and give that",
                path=checkpoint.path,
            )
        places = tuple(Path(folder) for folder in folders if folder is not None) or (checkpoint.folder,)
        home = next((place for place in places if open_config(place)), places[0])
        plain = plainly_named(checkpoint)
        purpose, more = _head_of(plain, open_config(home))
        elsewhere = None if home == checkpoint.folder else home
        loaded = load_model(plain, config=elsewhere, purpose=purpose, **more)
        loaded.model.requires_grad_(False)
        pooling: Pooling = "last" if is_causal(loaded.model.config.to_dict()) else "mean"
        return cls(loaded.model, purpose, plain, places, loaded.missing, pooling, loaded.unexpected)

    @cached_property
    def tokenizer(self) -> Any:
        """Its tokenizer, which pads on the right: positions are counted from the left.

        Raises
        ------
        ModelError
            There is none, or it can't be loaded.
        """
        found = padding_tokenizer(tokenizer_folder(self.folders))
        found.padding_side = "right"
        config = self.model.config.get_text_config()
        if config.pad_token_id is None:  # where decoders look for the last real token
            config.pad_token_id = found.pad_token_id
        return found

    @property
    def body(self) -> Any:
        """The model without its head."""
        return self.model.base_model

    @property
    def head_is_drawn(self) -> bool:
        """Whether some weight was drawn at random for want of one in the file; missing biases are zero."""
        return any("bias" not in name for name in self.missing)

    def require_whole(self) -> None:
        """Refuse a model of which some part was drawn at random.

        Raises
        ------
        ModelError
            With the names of what is missing.
        """
        if self.missing:
            raise ModelError(
                f"lacks {listed(self.missing)}, which {type(self.model).__name__} needs",
                advice="give the checkpoint with its head",
                path=self.checkpoint.path,
            )
        if self.purpose == "features":
            raise ModelError(
                f"is a {type(self.model).__name__}, which has no head to ask",
                advice="give the checkpoint with its head",
                path=self.checkpoint.path,
            )

    def longest(self, *, whole: bool = False) -> int:
        """Tokens at which texts are cut; see `batches`."""
        if self.limit is not None:
            return longest_text(self.model, None, self.limit)
        return longest_text(self.model, self.tokenizer, None if whole else ENOUGH)

    def batches(
        self, data: TaskData, rows: Sequence[int] | None = None, *, whole: bool = False
    ) -> list[Batch]:
        """Examples in batches, longest first.

        Parameters
        ----------
        rows
            Which of the examples; all of them if None.
        whole
            As much of each text as the model takes, instead of 256 tokens at most.

        Raises
        ------
        ModelError
            There is no tokenizer, or it is not this model's.
        """
        return batches(data, self.tokenizer, self.model, self.longest(whole=whole), rows)

    def logits(self, data: TaskData) -> npt.NDArray[np.float64]:
        """A classifier's answers to all examples, in their order; shape (examples, classes)."""
        import torch

        found = self.batches(data)
        with torch.inference_mode():
            answers = torch.cat([logits_of(self.model, batch) for batch in found]).double()
        return np.asarray(answers[_in_order(found)].numpy())

    def pool(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """One vector a text, shape (examples, width), of its tokens' vectors (examples, tokens, width)."""
        mask = mask.to(hidden.dtype)
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
            The first is the embeddings' output, the last the body's.
        """
        import torch

        found, parts, done = self.batches(data), [], 0
        with torch.inference_mode(), running(self.model):
            for batch in found:
                states = self.body(**batch.inputs, output_hidden_states=True).hidden_states
                parts.append(torch.stack([self.pool(state, batch.mask) for state in states]))
                done += len(batch.rows)
                if progress is not None:
                    progress(done, len(data))
        return np.asarray(torch.cat(parts, 1)[:, _in_order(found)].numpy())


def _in_order(found: Sequence[Batch]) -> list[int]:
    """Where each example stands in the batches, by its number."""
    rows = [row for batch in found for row in batch.rows]
    return sorted(range(len(rows)), key=rows.__getitem__)


def _head_of(checkpoint: Checkpoint, config: Mapping[str, Any]) -> tuple[Purpose, dict[str, Any]]:
    """What for, and how many classes the checkpoint's own head has where the config says otherwise."""
    purpose = purpose_of(config)
    heads = (f"{classifier.layers[-1]}.weight" for classifier in classifiers())
    classes = next((checkpoint.tensors[name].shape[0] for name in heads if name in checkpoint.tensors), None)
    if classes is None or purpose not in ("features", "classify"):
        return purpose, {}
    said = config.get("num_labels") or len(config.get("id2label") or (0, 1))
    return "classify", {} if classes == said else {"num_labels": classes}
