"""Verdict and forms of the zoo's sound runs say the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from zoo.beds import BEDS, healthy, train
from zoo.specimens import each_bed, write

from bitfit_probe.forms import forms_of_pair
from bitfit_probe.pair import Pair
from bitfit_probe.records.forms import USUAL

#: Forms of the matrices of a run that the verdict calls so; tables may have rows that no text held.
EXPECTED = {"bitfit": {"at rest"}, "merged-lora": {"at rest", "rank"}, "full": {"trained"}}


def formed(folder: Path, run) -> tuple[str, dict[str, set[str]]]:
    """The verdict, and the names of the forms of each kind of tensor."""
    built = write(run, folder, "folder")
    pair = Pair.open(built.base, built.tuned[0])
    names: dict[str, set[str]] = {}
    for row, form in zip(pair.comparison.tensors, forms_of_pair(pair).rows, strict=True):
        assert form is not None
        assert (form.name == "at rest") == (not row.moved)
        names.setdefault(row.info.kind, set()).add(form.name)
    return pair.comparison.verdict, names


@pytest.mark.parametrize(("bed", "task"), list(each_bed()))
def test_a_sound_run_has_the_forms_of_its_verdict(tmp_path, bed, task):
    verdict, names = formed(tmp_path, healthy(bed, task))
    assert names["weight"] == EXPECTED[verdict]
    assert set().union(*names.values()) <= set(USUAL)
    if verdict == "bitfit":
        assert "trained" in names["bias"]


@pytest.mark.parametrize("bed", BEDS)
def test_a_full_fine_tune_is_trained_everywhere(tmp_path, bed):
    run = healthy(bed, "lm")
    run.tuned.state = {name: tensor.clone() for name, tensor in run.base.state.items()}
    train(run.tuned.state, list(run.tuned.state), lr=1e-4)
    verdict, names = formed(tmp_path, run)
    assert (verdict, names["weight"]) == ("full", {"trained"})
