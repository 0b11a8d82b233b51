"""BP307."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.samples import blocks
from bitfit_probe.wording import format_number, join_names, plural

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["beyond_float16"]

#: The largest finite float16.
FLOAT16_MAX = 65504.0
_FINER = ("float64", "float32", "bfloat16")


@rule(
    "BP307",
    "beyond-float16",
    "error",
    explains=("BP211", "BP306", "BP308", "BP309", "BP310"),
    catalogue=(47,),
)
def beyond_float16(pair: Pair, this: Rule) -> Iterator[Finding]:
    """Weights are larger than float16 can hold, or became infinite in it.

    What it means
    -------------
    float16 ends at 65504. A weight beyond that turns into Inf when the model is cast, and a float16 file
    with Inf in it was cast already. Healthy weights stay below a few hundred.

    Why it matters
    --------------
    Served in half precision the model gives NaN.

    How it is recognised
    --------------------
    An Inf in a float16 tensor, or a finite value above 65504 in a wider type.

    What to do
    ----------
    Serve in bfloat16 or float32, and find out why weights grew so far: mostly it is a learning rate that
    is too high or garbage in rows that were never written.

    References
    ----------
    huggingface/transformers#5651
    """
    large = dict(_large(pair))
    burst = [
        row.name for row in pair.comparison.tensors if row.tuned_dtype == "float16" and row.nonfinite_tuned
    ]
    infinite = [name for name in burst if _infinite(pair, name)]
    if infinite:
        yield this.finding(
            f"{plural(len(infinite), 'tensor')} overflowed to Inf in float16: {join_names(infinite)}.",
            subjects=tuple(infinite),
            evidence=(Evidence("overflowed_tensors", len(infinite), "tensors"),),
        )
    elif large:
        worst = max(large, key=lambda name: large[name])
        yield this.finding(
            f"Values beyond float16's 65504 in {plural(len(large), 'tensor')}, up to "
            f"{format_number(large[worst])} in {worst}: in half precision they become infinite.",
            subjects=tuple(large),
            evidence=(Evidence("max_abs", large[worst], about=worst),),
        )


def _large(pair: Pair) -> Iterator[tuple[str, float]]:
    """Tensors with a value beyond float16, told from their length first: max|t| ≤ ‖t‖."""
    pairs = {match.tuned.name: match for match in pair.alignment.pairs}
    for name, row in pair.rows.items():
        if row.tuned_dtype in _FINER and (row.tuned_l2 or 0.0) > FLOAT16_MAX:
            largest = max(map(_largest, blocks(pairs[name].tuned)), default=0.0)
            if largest > FLOAT16_MAX:
                yield row.name, largest


def _infinite(pair: Pair, name: str) -> bool:
    match = next(match for match in pair.alignment.pairs if match.base.name == name)
    return any(bool(np.isinf(block).any()) for block in blocks(match.tuned))


def _largest(values: npt.NDArray[np.float64]) -> float:
    sizes = np.abs(values)
    return float(np.max(sizes, where=np.isfinite(sizes), initial=0.0))
