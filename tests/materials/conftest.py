"""Real checkpoints: `make materials` fetches them; without them these tests say why they are skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

MATERIALS = Path(__file__).parents[2] / "benchmarks" / ".cache" / "materials"


@pytest.fixture(scope="session")
def rxnfp() -> Path:
    """A real base (with its language-model head) and two real fine-tunes of it."""
    return _folder("rxnfp/rxnfp/models/transformers")


@pytest.fixture(scope="session")
def sapiens() -> Path:
    """Two fairseq checkpoints with an argparse.Namespace and optimizer state inside."""
    return _folder("sapiens/sapiens/models/v1")


def _folder(name: str) -> Path:
    if not (MATERIALS / name).is_dir():
        pytest.skip("real checkpoints are not there: run `make materials`")
    return MATERIALS / name
