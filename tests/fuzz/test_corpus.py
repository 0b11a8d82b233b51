"""What the fuzzer began with and what it found runs through the same targets in the normal suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import targets

HERE = Path(__file__).parent
KEPT = [
    (path.parent.name, path) for path in sorted(HERE.glob("*/*/*")) if path.parent.name in targets.TARGETS
]


@pytest.fixture(scope="module", autouse=True)
def _cleaned() -> Iterator[None]:
    yield
    targets.clean_up()


@pytest.mark.parametrize(("target", "path"), KEPT, ids=lambda value: getattr(value, "name", value))
def test_kept_inputs(target: str, path: Path) -> None:
    targets.TARGETS[target](path.read_bytes())


def test_every_target_but_the_open_one_has_its_corpus() -> None:
    assert {target for target, _ in KEPT} >= targets.TARGETS.keys() - {"any"}
