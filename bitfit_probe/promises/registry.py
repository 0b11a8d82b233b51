"""Every artefact is asked what it promises."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from typing import Protocol, cast

from bitfit_probe.pair import Pair
from bitfit_probe.promises import artefacts
from bitfit_probe.promises.case import Case
from bitfit_probe.records.promises import STATES, Promise, Promises

__all__ = ["promises_of", "promises_of_pair"]


class Artefact(Protocol):
    """What a module of `bitfit_probe.promises.artefacts` offers."""

    def promises(self, case: Case) -> Iterator[Promise]:
        """What the artefact promises of the case; nothing where it is not there."""


@cache
def _all() -> tuple[Artefact, ...]:
    found = pkgutil.iter_modules(artefacts.__path__, f"{artefacts.__name__}.")
    return tuple(cast("Artefact", importlib.import_module(module.name)) for module in found)


def promises_of(case: Case, more: Iterable[Promise] = ()) -> Promises:
    """All that the files of one checkpoint promise, the broken ones first; `more` are known already."""
    items = [_of_state(item) for item in more]
    items += [_of_state(item) for artefact in _all() for item in artefact.promises(case)]
    return Promises(str(case.tuned.path), tuple(sorted(items, key=lambda item: STATES.index(item.state))))


def _of_state(item: Promise) -> Promise:
    """A promise without consequences where it is kept."""
    return replace(item, loader="", first="", subjects=()) if item.state == "kept" else item


def promises_of_pair(pair: Pair) -> Promises:
    """The same of a pair's tuned side, held against its base as well; worked out once.

    Raises
    ------
    BitfitProbeError
        The tuned side can't be opened.
    """
    return pair.once("promises", lambda: promises_of(Case.of(pair)))
