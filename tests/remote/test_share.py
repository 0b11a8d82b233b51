"""What the documentation says of two pairs of large files, by the server's own log."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import constants

from benchmarks.remote import measure

PAGE = Path(__file__).parents[2] / "docs" / "remote.md"


# 302 requests of one range each are what the stretches of 24 layers in two files take.
@pytest.mark.parametrize(("name", "most"), [("BERT-large", 310), ("multilingual BERT-base", 200)])
def test_biases_of_a_large_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, most: int
) -> None:
    for constant in ("ENDPOINT", "HUGGINGFACE_CO_URL_TEMPLATE"):
        monkeypatch.setattr(constants, constant, getattr(constants, constant))  # put back afterwards
    lines, figures = measure(tmp_path, name)
    assert figures["several"]["share"] < 0.002
    assert figures["several"]["requests"] < 20
    assert figures["one"]["share"] < 0.002
    assert figures["one"]["requests"] < most
    # Bytes sent hold the server's headers, which differ by a few; the pair itself is always the same.
    documented = PAGE.read_text(encoding="utf-8")
    assert all(line.rsplit("|", 4)[0] in documented for line in lines)
