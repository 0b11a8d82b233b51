"""The options that say which columns of a file of examples to read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

__all__ = ["COLUMN_OPTIONS", "Command", "columns_options", "with_options"]

Command = Callable[..., Any]

#: ``--text``, ``--pair`` and ``--label``, in the order in which help lists them.
COLUMN_OPTIONS = (
    click.option("--text", help="Column of the texts in --data; guessed by name where not given."),
    click.option("--pair", help="Column of the second texts of pairs."),
    click.option("--label", help="Column of the labels."),
)


def columns_options(command: Command) -> Command:
    """Add the options to a command, which gets them as one `Columns` named ``columns``."""

    def bundled(*, text: str | None, pair: str | None, label: str | None, **options: Any) -> Any:
        from bitfit_probe.data import Columns

        return command(columns=Columns(text, pair, label), **options)

    return with_options(bundled, command, COLUMN_OPTIONS)


def with_options(bundled: Command, command: Command, options: Sequence[Command]) -> Command:
    """Let `bundled` stand for the command that it calls, with more options in front of the command's own."""
    bundled.__doc__, bundled.__name__ = command.__doc__, command.__name__
    bundled.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    for option in reversed(options):
        bundled = option(bundled)
    return bundled
