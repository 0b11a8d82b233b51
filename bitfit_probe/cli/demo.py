"""``bitfit-probe demo``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bitfit_probe.cli.options import out_option
from bitfit_probe.cli.output import one_blas_thread, terminal_width
from bitfit_probe.cli.streams import say
from bitfit_probe.outputs import made_folder, told_as_output, write_files

if TYPE_CHECKING:
    from bitfit_probe.records.report import Report

__all__ = ["demo"]


def _named(report: Report) -> Report:
    """The report under names that are the same wherever the package is installed."""
    diff = report.diff
    comparisons = [
        replace(comparison, tuned=replace(comparison.tuned, path="sample/tuned"))
        for comparison in diff.comparisons
    ]
    named = replace(diff, base=replace(diff.base, path="sample/base"), comparisons=tuple(comparisons))
    return replace(report, diff=named)


@click.command()
@out_option("Also write diff.txt, diff.json and diff.csv into this directory.", folder=True)
def demo(out: Path | None) -> None:
    """Run the diff on the embedded sample: a small English BERT and its BitFit checkpoint, offline."""
    one_blas_thread()
    from bitfit_probe import sample
    from bitfit_probe.probe import probe
    from bitfit_probe.rendering import diff_to_csv, report_to_json, report_to_text

    result = _named(probe(sample.base_path(), sample.tuned_path(), by=()))
    text = report_to_text(result, width=terminal_width())
    say(text)
    if out is None:
        return
    files = {
        "diff.txt": text,
        "diff.json": report_to_json(result),
        "diff.csv": diff_to_csv(result.diff),
    }
    inputs = (sample.base_path(), sample.tuned_path())
    with told_as_output(out), made_folder(out):
        write_files([(out / name, content) for name, content in files.items()], inputs)
    click.echo(f"\nWrote {', '.join(files)} to {out}", err=True)
