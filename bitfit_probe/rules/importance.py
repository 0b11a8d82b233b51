"""How small a rise of the loss counts as none when biases go back, and how sure that must be."""

from __future__ import annotations

__all__ = ["CONFIDENCE", "EXAMPLES", "TOLERANCE"]

#: The usual level of a reported interval. A convention.
CONFIDENCE = 0.95

#: In nats: the right answer's probability falls by 2 % (geometric mean over examples). For a regression in
#: variances of the labels: R² falls by 0.02. A convention, not calibrated.
TOLERANCE = 0.02

#: Examples that are used at most: with paired differences of 0.2 nats between examples their mean is known to
#: ± 0.014 from 1,000, which is what it takes to call a group free.
EXAMPLES = 1000
