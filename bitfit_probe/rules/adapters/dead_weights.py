"""BP511."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.adapter_files import adapter_of
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.wording import join_names, plural

__all__ = ["dead_weights"]

#: Rows of a matrix that are read: a dead one is zero everywhere.
_ROWS = 64


@rule(
    "BP511",
    "adapter-on-dead-weights",
    "error",
    needs=("comparison", "adapter"),
    explains=("BP107",),
    catalogue=(52,),
)
def dead_weights(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The adapter changes matrices of the base that are all zero.

    What it means
    -------------
    The base was converted or loaded without these weights: they are zeros, and the adapter was trained on
    top of a hole.

    Why it matters
    --------------
    Those layers compute nothing but the adapter's few directions.

    How it is recognised
    --------------------
    Every element that was read of a targeted matrix is 0.

    What to do
    ----------
    Get the base again or convert it again, and check it before training (`bitfit-probe diff` against the
    original names the tensors).

    References
    ----------
    cactus-compute/needle#53
    """
    adapter_of(pair)
    targets = [match.base for match in pair.alignment.pairs if match.computed and len(match.base.shape) >= 2]
    dead = [
        tensor.name for tensor in targets if not np.any(tensor.rows(min(tensor.shape[0], _ROWS)).values())
    ]
    if dead:
        yield this.finding(
            f"{plural(len(dead), 'matrix', 'matrices')} of the {len(targets)} that the adapter changes are "
            "all "
            f"zero in the base: {join_names(dead, 2)}.",
            subjects=tuple(dead),
            evidence=(Evidence("zero_matrices", len(dead), "matrices", about="in the base"),),
        )
