"""What a rule may need before it can look, and what is said where that is lacking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from bitfit_probe.pair import Pair
from bitfit_probe.rules.adapter_files import adapter_beside

__all__ = ["Need", "lacking", "reason"]

Need = Literal["tuned", "comparison", "data", "adapter", "merged-adapter", "tokenizer", "trainer-state"]


@dataclass(frozen=True)
class _Known:
    """Whether a need is met, and the words for where it isn't."""

    met: Callable[[Pair], bool]
    reason: str


#: Each asks for what stands before it in a rule's list, so that it may open what it looks at.
_NEEDS: dict[Need, _Known] = {
    "tuned": _Known(lambda pair: pair.opened, "the tuned checkpoint can't be opened"),
    "comparison": _Known(lambda pair: pair.compared, "the two could not be compared"),
    "data": _Known(lambda pair: pair.data is not None, "no --data given"),
    "adapter": _Known(lambda pair: pair.tuned.adapter is not None, "there is no adapter"),
    "merged-adapter": _Known(
        lambda pair: adapter_beside(pair.tuned) is not None, "no adapter lies beside merged weights"
    ),
    "tokenizer": _Known(
        lambda pair: bool(pair.tuned.tokenizer.tokens), "no tokenizer lies beside the weights"
    ),
    "trainer-state": _Known(lambda pair: pair.trainer_state is not None, "there is no trainer_state.json"),
}


def lacking(pair: Pair, needs: Sequence[Need]) -> str | None:
    """Why the first of `needs` that is not met isn't; None where all are."""
    return next((_NEEDS[need].reason for need in needs if not _NEEDS[need].met(pair)), None)


def reason(need: Need) -> str:
    """What is said where `need` is not met."""
    return _NEEDS[need].reason
