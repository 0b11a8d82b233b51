"""Tensors that hold several parameters at once, and where each of them lies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bitfit_probe.frozen import Frozen
from bitfit_probe.records import Part

__all__ = ["Experts", "Fused", "figure", "holds"]

#: A number, or the name of a figure that the configuration gives.
Figure = int | str


class Fused(Frozen):
    """One layout of a fused tensor.

    Attributes
    ----------
    parts
        Role of each part and how many units it has in all groups together, in storage order.
    groups
        How often the sequence of parts repeats along `axis`: once, or once per (key/value) head.
    axis
        The axis along which the parts are stored: 0, or -1 for weights stored ``[in, out]``.
    when
        What the configuration must say for this layout to be the one in use.
    split
        Role to the canonical name of the same parameter stored alone; empty where there is none.
    """

    parts: tuple[tuple[str, Figure], ...]
    groups: Figure = 1
    axis: int = 0
    when: Mapping[str, bool | str] | None = None
    split: Mapping[str, str] | None = None

    @classmethod
    def from_toml(cls, table: Mapping[str, Any]) -> Fused:
        """Read one ``[[fused]]`` table."""
        fields = {key: value for key, value in table.items() if key != "tensor"}
        fields["parts"] = tuple((role, count) for role, count in table["parts"])
        return cls(**fields)

    def cut(self, shape: tuple[int, ...], figures: Mapping[str, int]) -> tuple[Part, ...]:
        """Locate the parts in a tensor of a given shape.

        Parameters
        ----------
        shape
            Shape of the whole tensor.
        figures
            The architecture's figures by name.

        Returns
        -------
        tuple of Part
            Empty where a figure is missing or the shape contradicts the figures.
        """
        groups = _resolve(self.groups, figures)
        counts = [_resolve(count, figures) for _, count in self.parts]
        if not shape or not groups or not all(counts) or any(count % groups for count in counts):
            return ()
        axis = self.axis % len(shape)
        counts = [count // groups for count in counts]
        unit, rest = divmod(shape[axis], groups * sum(counts))
        if rest or not unit:
            return ()
        view = shape
        if groups > 1:
            view = (*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])
            axis += 1
        parts, start = [], 0
        for (role, _), count in zip(self.parts, counts, strict=True):
            parts.append(Part(role, view, axis, start, start + count * unit))
            start += count * unit
        return tuple(parts)


class Experts(Frozen):
    """A tensor that holds the same matrices of all experts: ``(experts, rows of all of them, …)``.

    Attributes
    ----------
    split
        Role and canonical name of each matrix of an expert where it is stored alone, in the order of their
        rows, of which each has as many.
    """

    split: tuple[tuple[str, str], ...]

    def cut(self, shape: tuple[int, ...]) -> Iterator[tuple[int, Part, str]]:
        """Each expert's number, where its matrices lie in a tensor of that shape, and their names."""
        rows = shape[1] // len(self.split) if len(shape) > 1 else 0
        if not rows or shape[1] % len(self.split):
            return
        view = (shape[0] * shape[1], *shape[2:])
        for expert in range(shape[0]):
            for at, (role, stored) in enumerate(self.split):
                start = expert * shape[1] + at * rows
                yield expert, Part(role, view, 0, start, start + rows), stored


def _resolve(value: Figure, figures: Mapping[str, int]) -> int:
    return value if isinstance(value, int) else figures.get(value, 0)


def figure(config: Mapping[str, Any], keys: tuple[str, ...]) -> int | None:
    """Give the first of several configuration entries that is a positive whole number."""
    for key in keys:
        value = config.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def holds(when: Mapping[str, bool | str] | None, config: Mapping[str, Any]) -> bool:
    """Tell whether a configuration says what `when` asks; an absent entry says nothing."""
    for key, wanted in (when or {}).items():
        said = config.get(key, _SILENT)
        # To transformers an option that is null is off.
        if (False if said is None else said) != wanted:
            return False
    return True


_SILENT = object()
