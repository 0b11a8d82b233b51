"""A method's tensors by the module that they belong to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from bitfit_probe.checkpoint.adapters.interface import Changes, not_read
from bitfit_probe.checkpoint.adapters.patterns import NamePatterns
from bitfit_probe.checkpoint.interface import Change
from bitfit_probe.checkpoint.parsing.expressions import UnreadExpressionError
from bitfit_probe.checkpoint.storage.tensor import Tensor

__all__ = ["Parts", "all_there", "changes_of", "is_part", "looked_up"]

Parts = Mapping[str, Tensor]


@cache
def _expression(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"(?P<module>.+)\.(?P<part>{'|'.join(names)})(?:\.[^.]+)?")


def is_part(name: str, names: tuple[str, ...]) -> bool:
    """Whether a tensor's name ends with one of `names`, an adapter's name or ``weight`` behind it aside."""
    return _expression(names).fullmatch(name) is not None


def changes_of(
    tensors: Mapping[str, Tensor], names: tuple[str, ...], make: Callable[[str, Parts], Change | None]
) -> Changes:
    """What `make` makes of each module and its parts; where it gives None, some are missing."""
    modules: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        match = _expression(names).fullmatch(name)
        assert match is not None
        modules.setdefault(match["module"], {})[match["part"]] = tensor
    made = {module: make(module, parts) for module, parts in modules.items()}
    altered = {change.name: change for change in made.values() if change is not None}
    return Changes(altered, incomplete=tuple(module for module, change in made.items() if change is None))


def all_there(parts: Parts, names: Iterable[str]) -> bool:
    """Whether every one of `names` is there, none of them empty."""
    return all(name in parts and parts[name].size for name in names)


def looked_up(patterns: NamePatterns, key: str, module: str, default: Any, path: Path) -> Any:
    """What the patterns under `key` of the configuration give for a module, or `default`.

    Raises
    ------
    UnsupportedError
        A pattern that is not read.
    """
    try:
        return patterns.look_up(module, default)
    except UnreadExpressionError as error:
        raise not_read(f"its {key} is not read: {error}", path) from error
