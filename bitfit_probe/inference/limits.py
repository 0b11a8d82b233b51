"""What the file can't fill is not built: settings are held against its tensors, before memory is taken."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.errors import ModelError

__all__ = ["check_counts", "check_number", "within"]

#: Beyond this no width, vocabulary or number of positions is what it says (Llama 4 takes 10,485,760).
_MOST = 1 << 24
#: Bases of rotary angles are large on purpose, and nothing is made as often.
_UNBOUNDED = re.compile(r".*(theta|base|base_freq|seed)")
#: Settings that say how often something is made.
_LAYERS = re.compile(r".*(layers?|blocks?|depths?|stages|loops|iterations|groups)")
#: So many layers are built whatever the file holds.
_FEW_LAYERS = 256
#: Parameters that a model may have beyond its file: heads drawn anew, tables that are tied later.
_TIMES, _MORE_PARAMETERS, _MORE_ELEMENTS = 4, 1 << 8, 1 << 24
#: Modules for each parameter of the file, and tables that no file holds (masks, sines).
_MODULES_EACH, _MORE_MODULES, _MORE_TABLES = 16, 1 << 14, 1 << 28


def check_number(key: str, value: int, declared: bool, home: Path) -> bool:
    """Whether a whole number may be passed on.

    Parameters
    ----------
    declared
        The config class has such a setting: what is too large is refused. Else it is left out.

    Raises
    ------
    ModelError
        A setting of the model is beyond all bounds.
    """
    if abs(value) <= _MOST or (_UNBOUNDED.fullmatch(key) and abs(value) < 1 << 53):
        return True
    if declared:
        raise _too_much(
            home, f"config.json sets {key} to {_shown(value)}, more than the {_MOST:,} that are built"
        )
    return False


def check_counts(settings: Mapping[str, Any], checkpoint: Checkpoint, home: Path) -> None:
    """Refuse more layers than the file has tensors, and more classes than its widest tensor has rows.

    Raises
    ------
    ModelError
        With the setting and its value.
    """
    shapes = [tensor.shape for tensor in checkpoint.tensors.values()]
    layers = max(len(shapes), _FEW_LAYERS)
    classes = max(1 << 16, max((max(shape, default=1) for shape in shapes), default=1))
    for key, value in _numbers(settings):
        if _LAYERS.fullmatch(key) and value > layers:
            raise _too_much(
                home, f"config.json sets {key} to {_shown(value)}, and the file holds {len(shapes):,} tensors"
            )
        if key == "num_labels" and value > classes:
            raise _too_much(
                home, f"config.json sets {key} to {_shown(value)}, more than the {classes:,} that are built"
            )


def _numbers(settings: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Whole numbers by name, those of nested settings and of lists too."""
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _numbers(value)
        for entry in value if isinstance(value, list) else [value]:
            if isinstance(entry, int) and not isinstance(entry, bool):
                yield key, entry


@contextlib.contextmanager
def within(checkpoint: Checkpoint, settings: Mapping[str, Any]) -> Iterator[None]:
    """Stop a model from being built that the checkpoint could not fill.

    Modules are built without memory of their own (on the meta device); torch tells of each part as it is
    registered, so this ends with the first one too many.

    Raises
    ------
    ModelError
        With the setting that asks for so much, where one can be told.
    """
    from torch.nn.modules import module as registry

    count = _Count(checkpoint, settings)
    handles = [
        registry.register_module_parameter_registration_hook(count.parameter),
        registry.register_module_buffer_registration_hook(count.buffer),
        registry.register_module_module_registration_hook(count.module),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Count:
    """What was registered so far, and what may be.

    Parameters are registered twice, as they are built and as they are filled: each time counts for itself.
    """

    def __init__(self, checkpoint: Checkpoint, settings: Mapping[str, Any]) -> None:
        self._tensors, self._elements = len(checkpoint.tensors), checkpoint.parameters
        self._path, self._settings = checkpoint.path, settings
        self._seen: dict[tuple[str, bool], int] = {}

    def parameter(self, module: Any, name: str, value: Any) -> None:
        if value is not None:
            kind, shape = type(module).__name__, tuple(value.shape)
            self._add("parameters", value, 1, _TIMES * self._tensors + _MORE_PARAMETERS, f"{kind}s")
            most = _TIMES * self._elements + _MORE_ELEMENTS
            self._add("elements", value, value.numel(), most, f"'{name}'", shape)

    def buffer(self, module: Any, name: str, value: Any) -> None:
        if value is not None:
            most = _TIMES * self._elements + _MORE_TABLES
            self._add("tables", value, value.numel(), most, f"'{name}'", tuple(value.shape))

    def module(self, module: Any, name: str, value: Any) -> None:
        most = _MODULES_EACH * self._tensors + _MORE_MODULES
        self._add("modules", None, 1, most, f"{type(value).__name__}s")

    def _add(
        self, kind: str, value: Any, count: int, most: int, what: str, shape: Sequence[int] = ()
    ) -> None:
        key = kind, value is not None and value.is_meta
        self._seen[key] = self._seen.get(key, 0) + count
        if self._seen[key] <= most:
            return
        size = f" of {math.prod(shape):,} elements" if shape else ""
        largest = max(shape, default=0)
        named = (f" ({key} is {value:,})" for key, value in _numbers(self._settings) if value == largest)
        held = f"{self._tensors:,} tensors with {self._elements:,} elements"
        asked = f"config.json asks for {what}{size}{next(named, '')}"
        raise _too_much(self._path, f"{asked}, and the file holds {held}")


def _shown(value: int) -> str:
    return f"{value:,}" if abs(value) < 1 << 63 else "a number of 20 digits or more"


def _too_much(home: Path, what: str) -> ModelError:
    return ModelError(what, advice="take the config.json that belongs to these weights", path=home)
