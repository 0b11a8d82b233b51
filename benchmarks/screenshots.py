"""Take pictures of five report pages for reports/screenshots.

    python -m benchmarks.screenshots

Each at the widths of a telephone, a tablet and a laptop, by day and by night. Needs playwright and a Chromium
(CHROMIUM names it, else it is looked for). Pages with examples need the task's held-out questions, which
benchmarks/sample/make_sample.py leaves in benchmarks/.cache.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import reports
from bitfit_probe.records.options import ReportOptions
from bitfit_probe.rendering import report_to_html

FOLDER = reports.REPORTS / "screenshots"
TASK = Path(__file__).parent / ".cache" / "task.csv"
#: Pages by name: the case, and whether it is asked with examples.
PAGES = {
    "healthy": (reports.embedded, True),
    "broken": (reports.production, True),
    "full": (reports.rxnfp, False),
    "runs": (reports.runs, True),
    "no-data": (reports.embedded, False),
}
WIDTHS = (375, 768, 1440)
_TALLEST = 1800
_COLOURS = 32


def page_of(name: str) -> str:
    """A page as HTML."""
    case, with_data = PAGES[name]
    files = case()
    examples = {"questions.csv": TASK} if with_data else {}
    with reports.staged({**files, **examples}):
        options = ReportOptions(date="2026-12-01")
        made = reports.report_of(*files, data=next(iter(examples), None), options=options)
    return report_to_html(made)


def shoot(pages: Mapping[str, str]) -> None:
    """Write the pictures of pages given as HTML."""
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for name, html in pages.items():
            file = Path(folder, f"{name}.html")
            file.write_text(html, encoding="utf-8")
            for scheme in ("light", "dark"):
                for width in WIDTHS:
                    _one(browser, file, width, scheme)
        browser.close()


def _one(browser: Any, file: Path, width: int, scheme: str) -> None:
    from PIL import Image

    page = browser.new_page(viewport={"width": width, "height": _TALLEST}, color_scheme=scheme)
    page.goto(file.as_uri())
    target = FOLDER / f"{file.stem}-{width}-{scheme}.png"
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    image.quantize(_COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)
    print(f"{target.name}: {target.stat().st_size:,} bytes")
    page.close()


if __name__ == "__main__":
    shoot({name: page_of(name) for name in PAGES})
