"""The options that several commands have, each declared once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

__all__ = [
    "COLUMNS",
    "PATH",
    "Command",
    "biases_only_option",
    "build_option",
    "codes_of",
    "columns_options",
    "counts_as_failure",
    "data_option",
    "fail_on_option",
    "format_option",
    "ignore_option",
    "measuring_options",
    "out_option",
    "quiet_option",
    "seed_option",
    "select_option",
    "state_dict_key_option",
    "task_options",
    "trust_checksums_option",
    "with_options",
]

Command = Callable[..., Any]

PATH = click.Path(path_type=Path)

state_dict_key_option = click.option(
    "--state-dict-key", help="Which state dict to take where a file holds several (model, ema, …)."
)
quiet_option = click.option("--quiet", is_flag=True, help="No progress bar.")
build_option = click.option(
    "--build", is_flag=True, help="Ask transformers which parameters the class has; imports torch."
)
seed_option = click.option("--seed", type=int, default=0, show_default=True)
#: From which severity on a finding makes the exit status 1.
FAIL_ON = ("error", "warning", "info", "never")
biases_only_option = click.option(
    "--biases-only", is_flag=True, help="Read biases only; say that the rest was not checked."
)
trust_checksums_option = click.option(
    "--trust-checksums",
    is_flag=True,
    help="Take equal CRC-32 in two .pt archives for equal bytes, without reading them.",
)
fail_on_option = click.option(
    "--fail-on",
    type=click.Choice(FAIL_ON),
    default="error",
    show_default=True,
    help="Exit with 1 where a finding is this severe or worse.",
)
select_option = click.option(
    "--select", help="Run these rules only: codes or their beginnings, with commas (BP2,BP301)."
)
ignore_option = click.option("--ignore", help="Leave these rules out.")
#: For commands that do without examples.
data_option = click.option("--data", type=PATH, help="Labelled examples, to run the model on a few.")
#: ``--text``, ``--pair`` and ``--label``, in the order in which help lists them.
COLUMNS = (
    click.option("--text", help="Column of the texts in --data; guessed by name where not given."),
    click.option("--pair", help="Column of the second texts of pairs."),
    click.option("--label", help="Column of the labels."),
)


def out_option(
    help: str = "Write to this file instead of stdout.",  # noqa: A002 - click's name for it
    *,
    required: bool = False,
    folder: bool | None = None,
) -> Command:
    """``-o``, ``--out``: where the result goes.

    Parameters
    ----------
    folder
        Whether it is a directory; None for either.
    """
    kind = click.Path(path_type=Path, file_okay=not folder, dir_okay=folder is not False)
    return click.option("-o", "--out", type=kind, required=required, help=help)


def format_option(*choices: str, help: str = "How to print it.") -> Command:  # noqa: A002 - click's name
    """``--format``, whose default is the first of `choices`; the command gets it as ``form``."""
    return click.option(
        "--format", "form", type=click.Choice(choices), default=choices[0], show_default=True, help=help
    )


#: How a task is measured, and where the result goes.
_MEASURING = (
    click.option(
        "--reference",
        type=PATH,
        help="Texts like those of the pretraining, one a line; English public-domain prose where not given.",
    ),
    click.option("--no-reference", is_flag=True, help="Leave the text distances out."),
    click.option(
        "--examples",
        type=click.IntRange(20),
        default=300,
        show_default=True,
        help="How many to take at random.",
    ),
    seed_option,
    format_option("text", "json"),
    out_option(),
    quiet_option,
)


def measuring_options(command: Command) -> Command:
    """Add the options of a command that measures a task.

    It gets ``reference`` as the library takes it: False for ``--no-reference``, None where nothing is given.
    """

    def bundled(*, reference: Path | None, no_reference: bool, **options: Any) -> Any:
        if no_reference and reference is not None:
            raise click.UsageError("--reference and --no-reference exclude each other")
        return command(reference=False if no_reference else reference, **options)

    return with_options(bundled, command, _MEASURING)


def codes_of(text: str | None) -> tuple[str, ...]:
    """What ``--select`` and ``--ignore`` name."""
    return tuple(code.strip() for code in (text or "").split(",") if code.strip())


def counts_as_failure(severity: str, fail_on: str) -> bool:
    """Whether a finding of that severity is as bad as ``--fail-on`` says, or worse."""
    return fail_on != "never" and FAIL_ON.index(severity) <= FAIL_ON.index(fail_on)


def columns_options(command: Command) -> Command:
    """Add the options to a command, which gets them as one `Columns` named ``columns``."""

    def bundled(*, text: str | None, pair: str | None, label: str | None, **options: Any) -> Any:
        from bitfit_probe.data import Columns

        return command(columns=Columns(text, pair, label), **options)

    return with_options(bundled, command, COLUMNS)


def task_options(command: Command) -> Command:
    """Add ``--data``, which must be given, and the options of its columns."""
    data = click.option(
        "--data", type=PATH, required=True, help="Labelled examples: CSV, TSV, JSONL or Parquet."
    )
    found: Command = data(columns_options(command))
    return found


def with_options(bundled: Command, command: Command, options: Sequence[Command]) -> Command:
    """Let `bundled` stand for the command that it calls, with more options in front of the command's own."""
    bundled.__doc__, bundled.__name__ = command.__doc__, command.__name__
    bundled.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    for option in reversed(options):
        bundled = option(bundled)
    return bundled
