"""BP306."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.wording import plural

__all__ = ["not_finite"]

#: Tensors that have no partner are read for this where they are no longer than this (heads are).
_MOST = 1 << 20


@rule("BP306", "not-finite", "error", explains=("BP211", "BP303", "BP308", "BP309", "BP310"), catalogue=(46,))
def not_finite(pair: Pair, this: Rule) -> Iterator[Finding]:
    """Weights are NaN or infinite.

    What it means
    -------------
    Training diverged, or a cast overflowed, and the broken weights were saved.

    Why it matters
    --------------
    One NaN in a layer makes every output NaN.

    How it is recognised
    --------------------
    Any NaN or Inf in a tensor that changed, or that the base does not have. A tensor whose bytes equal
    those of the base was not scanned.

    What to do
    ----------
    Go back to the last checkpoint without it. Train with a lower rate, clip gradients, prefer bfloat16 to
    float16, and stop the run at the first NaN loss.

    References
    ----------
    axolotl-ai-cloud/axolotl#1191, huggingface/accelerate#2402
    """
    bad = {row.name: (row.nonfinite_tuned or 0, row.parameters) for row in pair.comparison.tensors}
    bad |= dict(_alone(pair))
    bad = {name: counts for name, counts in bad.items() if counts[0]}
    if not bad:
        return
    first, (count, size) = next(iter(bad.items()))
    total = sum(item[0] for item in bad.values())
    yield this.finding(
        f"{plural(total, 'value')} in {plural(len(bad), 'tensor')} are NaN or infinite, first in {first} "
        f"({100 * count / size:.2g} % of it).",
        subjects=tuple(bad),
        evidence=(
            Evidence("nonfinite", total, "elements"),
            Evidence("nonfinite_share", count / size, "share", about=first),
        ),
    )


def _alone(pair: Pair) -> Iterator[tuple[str, tuple[int, int]]]:
    for item in pair.comparison.unmatched_tuned:
        tensor = pair.tuned.tensors.get(item.name)
        if tensor is not None and 0 < tensor.size <= _MOST and tensor.dtype.decodable:
            yield item.name, (int(np.count_nonzero(~np.isfinite(tensor.values()))), tensor.size)
