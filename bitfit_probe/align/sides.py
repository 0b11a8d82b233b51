"""Two checkpoints side by side: what comes of it, and what each side is taken for."""

from __future__ import annotations

from collections.abc import Iterable

from bitfit_probe.align.matching import TensorPair
from bitfit_probe.architectures import Architecture, Composite, recognise
from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.frozen import Frozen
from bitfit_probe.records import Unmatched

__all__ = ["Alignment", "architectures", "ties"]


class Alignment(Frozen):
    """Two checkpoints laid side by side, without their values.

    Attributes
    ----------
    architecture
        The base's, or the tuned side's where only that is known.
    pairs
        Tensors to compare, in the base's order.
    unmatched_base, unmatched_tuned
        What has no partner, and why.
    notes
        Which renaming it took, in words.
    """

    architecture: Architecture
    pairs: tuple[TensorPair, ...]
    unmatched_base: tuple[Unmatched, ...]
    unmatched_tuned: tuple[Unmatched, ...]
    notes: tuple[str, ...] = ()


def ties(checkpoint: Checkpoint) -> bool:
    """Whether a tied tensor that is absent stands under another name: where config.json does not object."""
    return checkpoint.config.get("tie_word_embeddings") is not False


def architectures(
    ours: Iterable[str], theirs: Iterable[str], base: Checkpoint, tuned: Checkpoint
) -> tuple[Architecture, Architecture]:
    """Both sides' architectures; a side that says less about itself is read as the other one."""
    ours, theirs = list(ours), list(theirs)
    left = recognise(ours, base.config or tuned.config)
    right = recognise(theirs, tuned.config or base.config)
    if isinstance(left, Composite) and not isinstance(right, Composite):
        return left, left.around(ours, right, theirs)
    if isinstance(right, Composite) and not isinstance(left, Composite):
        return right.around(theirs, left, ours), right
    if left.family != right.family:
        if left.family == "generic" or (right.known_from == "config" and left.known_from != "config"):
            left = recognise(ours, tuned.config)
        else:
            right = recognise(theirs, base.config)
    if left.family == "generic" or right.family == "generic":
        # One side split, the other fused: only the names of one are telling, and both share the prefix.
        known = right if left.family == "generic" else left
        return known, known
    return left, right
