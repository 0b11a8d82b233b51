"""Which rules there are: those of the families, which are the folders beside the engine."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from types import ModuleType

from bitfit_probe.rules.engine.rule import Rule

__all__ = ["all_rules"]

_ENGINE = "engine"


@cache
def all_rules() -> dict[str, Rule]:
    """Every rule by its code, in the order of the codes."""
    found: dict[str, Rule] = {}
    for module in _modules():
        for value in vars(module).values():
            if isinstance(value, Rule):
                if value.code in found and found[value.code] is not value:
                    raise RuntimeError(f"two rules are called {value.code}")
                found[value.code] = value
    return dict(sorted(found.items()))


def _modules() -> Iterator[ModuleType]:
    home = importlib.import_module(__name__.rpartition(".")[0])
    for family in pkgutil.iter_modules(home.__path__, f"{home.__name__}."):
        if family.ispkg and not family.name.endswith(f".{_ENGINE}"):
            for module in pkgutil.iter_modules(importlib.import_module(family.name).__path__):
                yield importlib.import_module(f"{family.name}.{module.name}")
