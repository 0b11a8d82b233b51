"""Take pictures of the sample reports for reports/screenshots.

    python -m benchmarks.screenshots

Needs playwright and a Chromium (CHROMIUM names it, else it is looked for).
"""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

REPORTS = Path(__file__).parents[1] / "reports"
#: Sample, width, colour scheme.
SHOTS = (
    ("broken", 375, "light"),
    ("rxnfp", 768, "dark"),
    ("sample", 1440, "light"),
    ("runs", 1440, "dark"),
)
_TALLEST = 2600
_COLOURS = 48


def main() -> None:
    from PIL import Image
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    folder = REPORTS / "screenshots"
    folder.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for name, width, scheme in SHOTS:
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            page.goto((REPORTS / name / "report.html").as_uri())
            image = Image.open(io.BytesIO(page.screenshot(full_page=True)))
            top = image.convert("RGB").crop((0, 0, width, min(image.height, _TALLEST)))
            target = folder / f"{name}-{width}-{scheme}.png"
            top.quantize(_COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)
            print(f"{target.name}: {target.stat().st_size:,} bytes")
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
