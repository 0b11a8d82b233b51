"""Rebuild the sample reports in reports/: one page and its Markdown twin each.

    python -m benchmarks.reports [NAME ...]

The same files give the same bytes: a report holds no time and no path outside of its case. What needs real
checkpoints (`make materials`) is left as it is where they are absent, and said. The four runs are kept as
patches of the embedded base (benchmarks/runs), made by benchmarks/sample/make_sample.py's sweep.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import broken, materials
from bitfit_probe import sample
from bitfit_probe.api.report import report as report_of
from bitfit_probe.records.options import ReportOptions
from bitfit_probe.rendering import report_to_html, report_to_markdown
from bitfit_probe.tuning.patch import apply_patch

REPORTS = Path(__file__).parents[1] / "reports"
_CACHE = Path(__file__).parent / ".cache"
_RUNS = Path(__file__).parent / "runs"
_RATES = ("0.002", "0.005", "0.01", "0.02")

#: A case: names under which a person would know the checkpoints, the base first, and where they are.
Case = dict[str, Path]


def embedded() -> Case:
    """The embedded sample."""
    return {"sample/base": sample.base_path(), "sample/tuned": sample.tuned_path()}


def rxnfp() -> Case:
    """A real base and its full fine-tune on chemical reactions, with a prefix missing."""
    home = materials.DEFAULT / materials.RXNFP
    return {"rxnfp/bert_pretrained": home / "bert_pretrained", "rxnfp/bert_ft": home / "bert_ft"}


def production() -> Case:
    """A broken production fine-tune."""
    base, tuned = broken.write(_CACHE / "broken")
    return {"base": base, "production": tuned}


def runs() -> Case:
    """One base, BitFit at four learning rates."""
    return {"bitfit/base": sample.base_path(), **{f"bitfit/lr-{rate}": _run(rate) for rate in _RATES}}


def _run(rate: str) -> Path:
    """The run at `rate`, made of its patch."""
    kept, made = _RUNS / f"lr-{rate}", _CACHE / "runs" / rate
    shutil.rmtree(made, ignore_errors=True)
    apply_patch(sample.base_path(), kept / "patch.safetensors", made)
    shutil.copy(kept / "trainer_state.json", made)
    return made


CASES: dict[str, Callable[[], Case]] = {
    "sample": embedded,
    "rxnfp": rxnfp,
    "broken": production,
    "runs": runs,
}


@contextlib.contextmanager
def staged(case: Case) -> Iterator[list[str]]:
    """The checkpoints under their names in a folder that the process works in."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        for shown, path in case.items():
            target = Path(name, shown)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(path.resolve(), target_is_directory=True)
        os.chdir(name)
        try:
            yield list(case)
        finally:
            os.chdir(before)


def build(name: str) -> dict[str, str] | None:
    """The files of one case by their names; None where its checkpoints are absent."""
    case = CASES[name]()
    if not all(path.exists() for path in case.values()):
        return None
    with staged(case) as paths:
        report = report_of(*paths, options=ReportOptions(date=""))  # a clone's files are as old as the clone
        return {"report.html": report_to_html(report), "report.md": report_to_markdown(report)}


def index() -> str:
    """The list of samples, with their sizes."""
    lines = [
        "# Sample reports",
        "",
        "Rebuilt by `make samples`.",
        "",
        "| sample | page | Markdown |",
        "|:--|--:|--:|",
    ]
    for name, case in CASES.items():
        if (REPORTS / name / "report.html").exists():
            sizes = [
                f"[{(REPORTS / name / file).stat().st_size / 1000:,.0f} kB]({name}/{file})"
                for file in ("report.html", "report.md")
            ]
            lines.append(f"| {case.__doc__} | {' | '.join(sizes)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    for name in sys.argv[1:] or CASES:
        files = build(name)
        if files is None:
            print(f"{name}: its checkpoints are absent, left as it is", file=sys.stderr)
            continue
        (REPORTS / name).mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (REPORTS / name / file).write_text(text, encoding="utf-8")
        print(f"{name}: {', '.join(f'{file} {len(text.encode()):,} bytes' for file, text in files.items())}")
    (REPORTS / "README.md").write_text(index(), encoding="utf-8")


if __name__ == "__main__":
    main()
