"""Weights that are stored as codes with scales beside them, unpacked a few rows at a time.

One module a scheme; `bitfit_probe.checkpoint.quantised.reading` finds them by listing this package. What none
of them can unpack is refused by `bitfit_probe.checkpoint.quantised.refusing`.
"""

from bitfit_probe.checkpoint.quantised.reading import unpacked
from bitfit_probe.checkpoint.quantised.refusing import refuse_quantised

__all__ = ["refuse_quantised", "unpacked"]
