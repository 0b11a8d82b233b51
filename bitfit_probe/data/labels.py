"""Labels: classes or quantities, and which of a model's classes each one is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

__all__ = ["Labels", "Task", "class_places", "listed", "number", "read_labels"]

Labels = tuple[int, ...] | tuple[float, ...] | None
Task = Literal["classification", "regression", "unlabelled"]

#: More distinct numbers than this are a quantity, not classes.
_MOST_NUMERIC_CLASSES = 20
_MOST_LISTED = 8
_LONGEST = 40


def read_labels(raw: Sequence[Any] | None) -> tuple[Labels, tuple[str, ...], Task]:
    """Labels as numbers, the names of the classes, and which kind of task this is."""
    if raw is None:
        return None, (), "unlabelled"
    known = [value for value in map(number, raw) if value is not None]
    if len(known) == len(raw) and _are_quantities(known):
        return tuple(known), (), "regression"
    names = [_name(value) for value in raw]
    ordered = _in_order(set(names))
    place = {name: position for position, name in enumerate(ordered)}
    return tuple(place[name] for name in names), ordered, "classification"


def number(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool):
        return None
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if found == found and abs(found) != float("inf") else None


def class_places(ours: Sequence[str], id2label: Mapping[int, str]) -> list[int] | None:
    """The model's number of each of our classes; None where they can't be matched."""
    exact = {name: position for position, name in id2label.items()}
    folded = {name.strip().casefold(): position for name, position in exact.items()}
    if all(name in exact for name in ours):
        return [exact[name] for name in ours]
    if len(folded) == len(exact) and all(name.casefold() in folded for name in ours):
        return [folded[name.casefold()] for name in ours]
    if all(name.isdecimal() and len(name) < 10 and int(name) in id2label for name in ours):
        return [int(name) for name in ours]
    numbers = all(number(name) is not None for name in ours)
    unnamed = all(name == f"LABEL_{position}" for position, name in id2label.items())
    if len(ours) == len(id2label) and (numbers or unnamed):
        return sorted(id2label)
    return None


def listed(names: Iterable[str]) -> str:
    """The first names, and how many there are beside them."""
    names = list(names)
    rest = len(names) - _MOST_LISTED
    first = (name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…" for name in names[:_MOST_LISTED])
    return ", ".join(first) + (f" and {rest} more" if rest > 0 else "")


def _are_quantities(values: Sequence[float]) -> bool:
    whole = all(value.is_integer() for value in values)
    return not whole and len(set(values)) > _MOST_NUMERIC_CLASSES


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    names = sorted(names)
    values = {name: number(name) for name in names}
    if None not in values.values():
        names.sort(key=lambda name: values[name] or 0.0)
    return tuple(names)


def _name(value: Any) -> str:
    """A class by its name: 1.0 is 1, as whole numbers come out of a float column."""
    text = str(value).strip()
    return text.removesuffix(".0") if number(text) is not None else text
