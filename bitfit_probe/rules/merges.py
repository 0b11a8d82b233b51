"""Weights beside an adapter, for the rules: what is judged of a merge, and the words for its tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from bitfit_probe.errors import BitfitProbeError
from bitfit_probe.measures.merge import Merge, MergedTensor, merge_of
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence
from bitfit_probe.rules.adapter_files import adapter_beside
from bitfit_probe.rules.engine.rule import CannotTell

__all__ = ["merge_beside", "modules", "strength"]

#: Kinds of modules that are named.
_NAMED = 4


def merge_beside(pair: Pair) -> Merge:
    """What became of the adapter beside the weights in them; for rules that need one.

    Raises
    ------
    CannotTell
        The adapter can't be read, or it changes no tensor of this base.
    """
    path = adapter_beside(pair.tuned)
    assert path is not None
    try:
        found = merge_of(pair, path)
    except BitfitProbeError as error:
        raise CannotTell(f"the adapter beside the weights can't be read: {error.what}") from error
    if not found.targeted:
        raise CannotTell("the adapter beside the weights changes no tensor of this base")
    return found


def strength(alpha: float) -> Evidence:
    """A median of α*."""
    return Evidence("merge_strength", alpha, about="median", source="α* = ⟨Δ, s·BA⟩ / ‖s·BA‖²")


def modules(tensors: Iterable[MergedTensor]) -> str:
    """Tensors by the last names of their modules: ``8 × w1, 8 × w2``; one alone by its whole name."""
    found = list(tensors)
    if len(found) == 1:
        return found[0].name.removesuffix(".weight")
    counts = Counter(_last_name(item.name) for item in found).most_common()
    rest = [f"{len(counts) - _NAMED} more kinds"] if len(counts) > _NAMED else []
    return ", ".join([f"{count} × {name}" for name, count in counts[:_NAMED]] + rest)


def _last_name(name: str) -> str:
    return name.removesuffix(".weight").rpartition(".")[2]
