"""What a checkpoint's tensors are: heads, tables of words, an adapter's factors, a delta of biases."""

from __future__ import annotations

from bitfit_probe.align import unwrapped
from bitfit_probe.architectures import Architecture, recognise
from bitfit_probe.checkpoint import Checkpoint, Tensor
from bitfit_probe.pair import Pair
from bitfit_probe.promises import word_embedding

__all__ = ["architecture_of", "heads", "is_adapter", "is_delta", "plain_name", "word_embedding"]


def is_adapter(checkpoint: Checkpoint) -> bool:
    """Whether it holds an adapter's factors and no model."""
    return getattr(checkpoint, "adapter", None) is not None or any(
        ".lora_A." in name or ".lora_B." in name for name in checkpoint.tensors
    )


def is_delta(pair: Pair) -> bool:
    """Whether the tuned file holds only what was trained: biases or norms, perhaps a head, and no matrix."""
    theirs = {match.tuned.name for match in pair.alignment.pairs if match.in_file}
    tensors = pair.tuned.tensors
    matrices = [name for name in theirs if len(tensors[name].shape) > 1 and not _is_head(pair, name)]
    return not matrices and any(len(tensor.shape) > 1 for tensor in pair.base.tensors.values())


def _is_head(pair: Pair, name: str) -> bool:
    return architecture_of(pair).info(unwrapped(name), 2).kind == "head"


def plain_name(name: str) -> str:
    """The name as it was before any wrapper."""
    return unwrapped(name)


def architecture_of(pair: Pair) -> Architecture:
    """The tuned checkpoint's architecture, with the prefix that its own names have."""

    def find() -> Architecture:
        names = [unwrapped(name) for name in pair.tuned.tensors]
        found = recognise(names, pair.tuned.config or pair.base.config)
        return pair.alignment.architecture if found.family == "generic" else found

    return pair.once("architecture", find)


def heads(pair: Pair) -> dict[str, Tensor]:
    """Head tensors of the tuned checkpoint by their own names."""

    def find() -> dict[str, Tensor]:
        architecture = architecture_of(pair)
        return {
            name: tensor
            for name, tensor in pair.tuned.tensors.items()
            if architecture.info(unwrapped(name), len(tensor.shape)).kind == "head"
        }

    return pair.once("heads", find)
