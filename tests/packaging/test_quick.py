"""Which tests `make quick` takes for which change."""

from __future__ import annotations

import pytest
from quick import wanted_by


@pytest.mark.parametrize(
    ("files", "tests"),
    [
        (["bitfit_probe/align/names.py"], ["tests/align"]),
        (
            ["bitfit_probe/checkpoint/formats/gguf.py", "tests/formats/test_gguf.py"],
            ["tests/bad_input/test_files.py", "tests/checkpoint", "tests/formats"],
        ),
        (["docs/diff.md", "LICENSE"], ["tests/docs"]),
        ([], []),
    ],
)
def test_the_rooms_of_a_change(files: list[str], tests: list[str]) -> None:
    assert wanted_by(files) == tests
