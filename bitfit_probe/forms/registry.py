"""Which forms there are: the files of `kinds`, the simplest first."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, Protocol, cast

from bitfit_probe.forms import kinds
from bitfit_probe.records.forms import Form

if TYPE_CHECKING:
    from bitfit_probe.forms.case import Case

__all__ = ["Kind", "all_kinds", "simplest"]

#: On a handful of numbers anything fits; and what costs most of the tensor's numbers explains nothing.
_LEAST, _WORTH = 32, 1 / 2


class Kind(Protocol):
    """What a file of `kinds` offers.

    Attributes
    ----------
    LEVEL
        Forms of a lower level are simpler, and are asked first: 1 for a number or two, 2 for other tensors
        and orders, 3 for a part of the tensor's numbers, 4 for no relation at all.
    """

    LEVEL: int

    def find(self, case: Case) -> Form | None:
        """The form, where it holds; cheap tests come first."""


@cache
def all_kinds() -> tuple[Kind, ...]:
    """Every kind of form, the simplest first."""
    found = [
        importlib.import_module(f"{kinds.__name__}.{module.name}")
        for module in pkgutil.iter_modules(kinds.__path__)
    ]
    return tuple(sorted((cast("Kind", module) for module in found), key=lambda kind: kind.LEVEL))


def simplest(case: Case) -> Form:
    """The cheapest form of the lowest level at which one holds; trained where none does."""
    levels = groupby(all_kinds(), key=lambda kind: kind.LEVEL) if case.size >= _LEAST else ()
    for _, level in levels:
        forms = [form for kind in level if (form := kind.find(case)) is not None]
        worth = [form for form in forms if form.cost <= _WORTH * case.size]
        if worth:
            return min(worth, key=lambda form: (form.cost, form.residual))
    return Form("trained", "trained", {}, 0.0, case.size)
