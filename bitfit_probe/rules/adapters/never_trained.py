"""BP501."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bitfit_probe.checkpoint.adapters import low_rank
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.adapter_files import adapter_of
from bitfit_probe.rules.engine.rule import CannotTell, Rule, rule
from bitfit_probe.wording import join_names, plural

__all__ = ["never_trained"]

#: One or two modules without a gradient (an expert that no token was sent to) happen in sound runs.
MOST = 0.5


@rule(
    "BP501",
    "adapter-never-trained",
    "error",
    needs=("comparison", "adapter"),
    explains=("BP203", "BP714"),
    catalogue=(1,),
)
def never_trained(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The adapter is as it was initialised: every B is zero.

    What it means
    -------------
    LoRA starts with a random A and a B of zeros, so that its update B·A is zero. A B that is still zero has
    never been stepped: the adapter was not trainable, was not in the optimizer, or was saved too early.

    Why it matters
    --------------
    With the adapter the model answers exactly as without it.

    How it is recognised
    --------------------
    All `lora_B` factors are exactly 0 while the A have spread. Where at least half of them are (but not
    all) it is a warning.

    What to do
    ----------
    Don't deploy it. Look at `print_trainable_parameters()`, at the gradient norm of the first step, and at
    whether the model was prepared for training again after the adapter was added.

    References
    ----------
    huggingface/peft#1402, tloen/alpaca-lora#357, huggingface/peft#1259
    """
    factors = {name: change for name, change in low_rank(adapter_of(pair)).items() if change.b.size}
    if not factors:
        raise CannotTell("the adapter has no low-rank factors")
    still = [name for name, change in factors.items() if not np.any(change.b.values())]
    if len(still) < MOST * len(factors) or not still:
        return
    every = len(still) == len(factors)
    yield this.finding(
        f"The adapter never trained: B is zero in {'all' if every else len(still)} of its "
        f"{plural(len(factors), 'module')}, so it changes nothing {'' if every else 'there '}"
        f"({join_names([name.removesuffix('.weight') for name in still], 2)}).",
        severity="error" if every else "warning",
        subjects=tuple(still),
        evidence=(
            Evidence("zero_b", len(still), "modules"),
            Evidence("modules", len(factors), "modules", about="in the adapter"),
        ),
    )
