"""Cheap passes of a live model over a few of the examples of --data, for the rules that run one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from bitfit_probe.checkpoint import Checkpoint, Tensor
from bitfit_probe.errors import ModelError
from bitfit_probe.pair import Pair
from bitfit_probe.rules.engine.rule import CannotTell

if TYPE_CHECKING:
    from bitfit_probe.data import TaskData

__all__ = ["examples", "told", "with_tuned_body"]

#: Enough to see collapse or forgetting, a second or two of work.
_EXAMPLES = 64


def examples(pair: Pair) -> TaskData:
    """At most 64 of the examples, for rules that need them."""
    assert pair.data is not None
    return pair.data.sample(_EXAMPLES)


@contextmanager
def told() -> Iterator[None]:
    """Load or run a model; where that fails, the rule can't tell.

    Raises
    ------
    CannotTell
        With the reason.
    """
    try:
        yield
    except ModelError as error:
        raise CannotTell(f"the model could not be run: {error.what}") from error


def with_tuned_body(pair: Pair) -> Checkpoint:
    """The base with the tuned side's body in place of its own; its head stays."""
    tensors: dict[str, Tensor] = dict(pair.base.tensors)
    for match in pair.alignment.pairs:
        whole = match.part is None and match.base.shape == pair.base.tensors[match.base.name].shape
        if whole and match.info.kind not in ("head", "buffer"):
            tensors[match.base.name] = replace(match.tuned, name=match.base.name)
    return replace(pair.base, tensors=tensors)
