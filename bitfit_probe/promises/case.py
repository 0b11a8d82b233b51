"""One checkpoint whose promises are asked for, beside its base where there is one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from bitfit_probe.align import unwrapped
from bitfit_probe.architectures import Architecture, recognise
from bitfit_probe.checkpoint import Checkpoint, Tensor
from bitfit_probe.pair import Pair
from bitfit_probe.records import TensorInfo

__all__ = ["BASES", "Case", "Held", "word_embedding"]

#: What an expectation is called that was read off the base's own file.
BASES = "the base's file"


_WORDS = re.compile(
    r"(^|\.)(word_embeddings|wte|embed_tokens|tok_embeddings|embed_in|shared|word_embedding)\.weight$"
)


class Held(NamedTuple):
    """A tensor in the file, where it sits, and the name that it has in every checkpoint of its family."""

    tensor: Tensor
    info: TensorInfo
    canonical: str


@dataclass(frozen=True, eq=False)
class Case:
    """What an artefact may look at.

    Attributes
    ----------
    tuned
        The checkpoint.
    base
        What it was tuned from; None where it is judged alone.
    build
        Whether transformers is asked which parameters the class has.
    """

    tuned: Checkpoint
    base: Checkpoint | None = None
    build: bool = False

    @classmethod
    def of(cls, pair: Pair) -> Case:
        """The tuned side of a pair; raises as `Pair.tuned` does."""
        return cls(pair.tuned, pair.base, pair.reading.build)

    @cached_property
    def held(self) -> Mapping[str, Held]:
        """Tensors of the file by their names without wrappers."""
        return _held(self.tuned, self.architecture)

    @cached_property
    def held_by_base(self) -> Mapping[str, Held]:
        """The same of the base; empty without one, or where it is of another family."""
        if self.base is None or self.base.adapter is not None:
            return {}
        theirs = _architecture(self.base)
        return _held(self.base, theirs) if theirs.family == self.architecture.family else {}

    @cached_property
    def architecture(self) -> Architecture:
        """What the names of the file mean."""
        return _architecture(self.tuned)

    @cached_property
    def is_model(self) -> bool:
        """Whether it holds a whole model with its matrices: no adapter, and no delta of biases."""
        if self.tuned.adapter is not None or any(".lora_A." in name for name in self.tuned.tensors):
            return False
        return any(len(held.tensor.shape) > 1 and held.info.kind == "weight" for held in self.held.values())

    @property
    def table(self) -> str:
        """Where an expectation comes from that a family's table gives."""
        return f"config.json by the table of {self.architecture.family}"


def _architecture(checkpoint: Checkpoint) -> Architecture:
    return recognise([unwrapped(name) for name in checkpoint.tensors], checkpoint.config)


def _held(checkpoint: Checkpoint, architecture: Architecture) -> dict[str, Held]:
    named = ((unwrapped(name), tensor) for name, tensor in checkpoint.tensors.items())
    return {
        name: Held(tensor, architecture.info(name, len(tensor.shape)), architecture.canonical(name))
        for name, tensor in named
    }


def word_embedding(checkpoint: Checkpoint) -> Tensor | None:
    """The table that token ids are looked up in; the one with most elements where several look like it."""
    found = [t for name, t in checkpoint.tensors.items() if _WORDS.search(name) and len(t.shape) == 2]
    return max(found, key=lambda tensor: tensor.size, default=None)
