"""What every checkpoint promises of its values: finite numbers that are not all one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bitfit_probe.records.inspection import TensorValues
from bitfit_probe.records.promises import Promise
from bitfit_probe.wording import plural

__all__ = ["SATURATED", "promises"]

#: Share of a matrix's elements at its largest magnitude from which it was clipped: of numbers that were drawn
#: or trained one in a block stands there. A convention.
SATURATED = 0.05
#: Smaller tensors hold few values anyway.
_LEAST = 1024
_SOURCE = "the weight file"


def promises(values: Sequence[TensorValues]) -> Iterator[Promise]:
    """Of all tensors that were read; of matrices that they are neither dead nor clipped."""
    yield from _finite(values)
    matrices = [item for item in values if item.kind in ("weight", "embedding") and item.size >= _LEAST]
    dead = [item for item in matrices if item.lowest == item.highest and not item.nonfinite]
    clipped = [item for item in matrices if item.at_peak >= SATURATED and item not in dead]
    said = f"{plural(len(matrices), 'matrix', 'matrices')} of more than one value"
    yield Promise(
        "values",
        _SOURCE,
        said,
        f"{plural(len(dead), 'matrix', 'matrices')} of one value, such as '{dead[0].name}'" if dead else "so",
        "broken" if dead else "kept",
        loader="it loads, and that layer passes nothing on",
        first="whether it was ever trained or filled",
        severity="warning",
        subjects=tuple(item.name for item in dead),
    )
    if clipped:
        worst = max(clipped, key=lambda item: item.at_peak)
        yield Promise(
            "values",
            _SOURCE,
            "matrices that are not clipped",
            f"{100 * worst.at_peak:.0f} % of '{worst.name}' at its largest magnitude, "
            f"in {plural(len(clipped), 'matrix', 'matrices')}",
            "broken",
            loader="it loads, with large weights cut off",
            first="a cast, clip or quantiser between training and this file",
            severity="warning",
            subjects=tuple(item.name for item in clipped),
        )


def _finite(values: Sequence[TensorValues]) -> Iterator[Promise]:
    bad = [item for item in values if item.nonfinite]
    total = sum(item.nonfinite for item in bad)
    expected = f"finite numbers in {plural(len(values), 'tensor')}"
    if not bad:
        yield Promise("values", _SOURCE, expected, "so", "kept")
        return
    yield Promise(
        "values",
        _SOURCE,
        expected,
        f"{plural(total, 'value')} in {plural(len(bad), 'tensor')} that are NaN or infinite, first in "
        f"'{bad[0].name}'",
        "broken",
        loader="it loads, and every output becomes NaN",
        first="the loss at the last steps, and casts to float16",
        subjects=tuple(item.name for item in bad),
    )
