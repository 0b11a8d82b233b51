"""The options of ``bitfit-probe diff`` that need examples and the model itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from bitfit_probe.cli.options import COLUMNS, PATH, Command, with_options

if TYPE_CHECKING:
    from bitfit_probe.data import Columns
    from bitfit_probe.records.measures import By
    from bitfit_probe.records.options import RevertOptions

__all__ = ["Examples", "data_options"]

_OPTIONS = (
    click.option(
        "--data",
        type=PATH,
        help="Examples (CSV, TSV, JSONL, JSON, Parquet): put biases back by groups, measure what is lost.",
    ),
    *COLUMNS,
    click.option(
        "--revert",
        "group",
        type=click.Choice(["role", "layer", "role-layer"]),
        help="What goes back as one.  [default: role]",
    ),
    click.option("--examples", type=click.IntRange(min=2), help="Use at most so many.  [default: 1000]"),
    click.option(
        "--tolerance",
        type=click.FloatRange(min=0, min_open=True),
        help="Rise of the loss up to which a group is free.  [default: 0.02]",
    ),
    click.option(
        "--model-dir",
        type=PATH,
        help="Directory of config.json and tokenizer, if they lie beside neither checkpoint.",
    ),
)


class Examples(NamedTuple):
    """What was asked about examples on the command line; nothing where `data` is None."""

    data: Path | None
    text: str | None
    pair: str | None
    label: str | None
    group: By | None
    examples: int | None
    tolerance: float | None
    model_dir: Path | None

    def columns(self) -> Columns | None:
        """Which columns to read; None where there is nothing to read."""
        if self.data is None:
            return None
        from bitfit_probe.data import Columns

        return Columns(self.text, self.pair, self.label)

    def options(self) -> RevertOptions:
        """What was given of the options, and the library's own for the others."""
        from dataclasses import replace

        from bitfit_probe.records.options import RevertOptions

        asked: dict[str, Any] = {
            "by": self.group,
            "examples": self.examples,
            "tolerance": self.tolerance,
            "model_dir": self.model_dir,
        }
        return replace(RevertOptions(), **{name: value for name, value in asked.items() if value is not None})


def data_options(command: Command) -> Command:
    """Add the options to a command, which gets them as one `Examples` named ``asked``."""

    def bundled(**options: Any) -> Any:
        asked = {name: options.pop(name) for name in Examples._fields}
        others = [name for name, value in asked.items() if name != "data" and value is not None]
        if asked["data"] is None and others:
            option = "revert" if "group" in others else others[0]
            raise click.UsageError(f"--{option.replace('_', '-')} needs --data")
        return command(asked=Examples(**asked), **options)

    return with_options(bundled, command, _OPTIONS)
