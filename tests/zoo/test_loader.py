"""What transformers itself says of the zoo: where it starts weights at random, an alarm must be raised."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import transformers
from zoo.specimens import Specimen, lookalikes, specimens
from zoo.table import look

#: Kinds in which names, heads or tables are lost or moved; the others change values, or are not loadable.
_NAMES = ("16", "20", "22", "23", "24", "26", "28", "39")
_HEALTHY = ("C1", "C2", "C3", "C4", "C5", "C6", "C7", "C9", "C10")


def _plain(kinds: list[Specimen], numbers: tuple[str, ...]) -> list[Specimen]:
    return [s for s in kinds if s.kind in numbers and s.container == "folder"]


def random_at_start(folder: Path, config: dict[str, Any]) -> set[str]:
    """Names that from_pretrained draws at random, a tied or newly computed one aside."""
    cls = getattr(transformers, config["architectures"][0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, info = cls.from_pretrained(folder, output_loading_info=True)
    assert model is not None
    return {name for name in info["missing_keys"] if "position_ids" not in name}


def _config(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((path / "config.json").read_text())
    return loaded


@pytest.mark.parametrize("specimen", _plain(specimens(), _NAMES), ids=lambda s: f"{s.id}-{s.code}")
def test_what_the_loader_draws_at_random_raises_an_alarm(tmp_path: Path, specimen: Specimen) -> None:
    """And an error of these kinds means that the loader does lose something."""
    built = specimen.build(tmp_path)
    missing = random_at_start(built.tuned[0], _config(built.tuned[0]))
    answer = look(built)
    errors = [finding.code for finding in answer.findings if finding.severity == "error"]

    assert not missing or answer.alarms
    assert not errors or missing


@pytest.mark.parametrize("specimen", _plain(lookalikes(), _HEALTHY), ids=lambda s: s.id)
def test_a_lookalike_loads_whole(tmp_path: Path, specimen: Specimen) -> None:
    built = specimen.build(tmp_path)
    missing = random_at_start(built.tuned[0], _config(built.tuned[0]))

    assert {name for name in missing if "pooler" not in name} == set()
