"""Numbers and names as findings and promises write them."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["format_number", "join_names", "plural"]


def format_number(value: float) -> str:
    """A number as people write it in a sentence."""
    return f"{value:.2g}"


def plural(count: int, one: str, many: str | None = None) -> str:
    """`count` with its noun."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def join_names(names: Iterable[str], most: int = 3) -> str:
    """Some names for a sentence, and how many more there are."""
    every = list(names)
    rest = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + rest
