"""docs/findings.md is what the rules say today."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_of_findings_is_not_stale():
    made = runpy.run_path(str(DOCS / "make_findings.py"))["page"]()
    assert (DOCS / "findings.md").read_text(encoding="utf-8") == made, "run `make docs`"


def test_the_answers_to_the_asks_are_not_stale():
    """Every output of a command that runs no model: those depend on the machine in their last digits."""
    made = runpy.run_path(str(DOCS / "make_asks.py"))["page"](with_models=False)
    page = (DOCS / "asks.md").read_text(encoding="utf-8")
    blocks = made.split("```console\n")[1:]
    assert len(blocks) == 8
    for block in blocks:
        assert block.partition("```")[0] in page, "run `make docs`"
