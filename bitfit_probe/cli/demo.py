"""``bitfit-probe demo``."""

from __future__ import annotations

from pathlib import Path

import click

from bitfit_probe.cli.options import out_option
from bitfit_probe.cli.output import one_blas_thread, terminal_width
from bitfit_probe.cli.streams import say
from bitfit_probe.outputs import made_folder, told_as_output, write_files

__all__ = ["demo"]


@click.command()
@out_option("Also write diff.txt, diff.json and diff.csv into this directory.", folder=True)
def demo(out: Path | None) -> None:
    """Run the diff on the embedded sample: a small English BERT and its BitFit checkpoint, offline."""
    one_blas_thread()
    from bitfit_probe import rendering, sample
    from bitfit_probe.api.report import demo as run

    result = run()
    text = rendering.report_to_text(result, width=terminal_width())
    say(text)
    if out is None:
        return
    files = {
        "diff.txt": text,
        "diff.json": rendering.report_to_json(result),
        "diff.csv": rendering.diff_to_csv(result.diff),
    }
    inputs = (sample.base_path(), sample.tuned_path())
    with told_as_output(out), made_folder(out):
        write_files([(out / name, content) for name, content in files.items()], inputs)
    click.echo(f"\nWrote {', '.join(files)} to {out}", err=True)
