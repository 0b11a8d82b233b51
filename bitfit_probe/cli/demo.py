"""``bitfit-probe demo``."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from bitfit_probe.cli.options import out_option
from bitfit_probe.cli.output import one_blas_thread, terminal_width
from bitfit_probe.cli.streams import complaint, say
from bitfit_probe.outputs import made_folder, told_as_output, write_files

__all__ = ["demo"]


@click.command()
@out_option("Also write diff.txt, diff.json, diff.csv and report.html into this directory.", folder=True)
def demo(out: Path | None) -> None:
    """Run the diff on the embedded sample: a small English BERT and its BitFit checkpoint, offline.

    Ends with three commands to try next.
    """
    one_blas_thread()
    from bitfit_probe import rendering
    from bitfit_probe.api.report import demo as run

    result = run()
    text = rendering.report_to_text(result, width=terminal_width())
    say(text)
    if out is not None:
        table, document = rendering.diff_to_csv(result.diff), rendering.report_to_json(result)
        _write(out, {"diff.txt": text, "diff.json": document, "diff.csv": table})
    _next()


def _write(out: Path, files: dict[str, str]) -> None:
    """The diff in three forms, and the page where what it takes is installed."""
    from bitfit_probe import sample
    from bitfit_probe.errors import MissingExtraError

    try:
        files["report.html"] = _page()
    except MissingExtraError as error:
        complaint(f"\nNo page: {error}")
    inputs = (sample.base_path(), sample.tuned_path())
    with told_as_output(out), made_folder(out):
        write_files([(out / name, content) for name, content in files.items()], inputs)
    complaint(f"\nWrote {', '.join(files)} to {out}")


def _page() -> str:
    from bitfit_probe import sample
    from bitfit_probe.api.report import report
    from bitfit_probe.records.options import ReportOptions
    from bitfit_probe.rendering import report_to_html

    return report_to_html(report(sample.base_path(), sample.tuned_path(), options=ReportOptions(date="")))


def _next() -> None:
    """Three commands that work as they are printed, from here."""
    from bitfit_probe import sample

    pair = " ".join(shlex.quote(os.path.relpath(path)) for path in (sample.base_path(), sample.tuned_path()))
    complaint(
        f"\nTry next:\n  bitfit-probe check {pair}\n  bitfit-probe explain key-bias-noise\n"
        f"  bitfit-probe report {pair} -o page.html"
    )
