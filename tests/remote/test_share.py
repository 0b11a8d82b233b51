"""What the documentation says of a pair of 1.3 GB files, by the server's own log."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import constants

from benchmarks.remote import measure


def test_biases_of_a_large_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENDPOINT", "HUGGINGFACE_CO_URL_TEMPLATE"):
        monkeypatch.setattr(constants, name, getattr(constants, name))  # put back afterwards
    _, figures = measure(tmp_path)
    assert figures["several"]["share"] < 0.002
    assert figures["several"]["requests"] < 200
    assert figures["one"]["share"] < 0.002
