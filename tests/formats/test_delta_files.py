"""Files that hold trained biases and nothing else: a legitimate way to keep a BitFit run."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.builders import State, biases, move, row, state, write

import bitfit_probe
from bitfit_probe.records import Comparison


def compared(folder: Path, base: State, tuned: State, end: str) -> Comparison:
    paths = write(folder / "base.safetensors", base), write(folder / f"biases{end}", tuned)
    return bitfit_probe.diff(*paths).comparisons[0]


@pytest.mark.parametrize("end", [".pt", ".safetensors"])
@pytest.mark.parametrize("prefix", ["bert.", ""])
def test_biases_alone_are_a_bitfit_run(tmp_path: Path, end: str, prefix: str) -> None:
    base = state("bert")
    names = biases(base)
    tuned = move(base, *names)
    delta = {prefix + name.removeprefix("bert."): tuned[name] for name in names}
    comparison = compared(tmp_path, base, delta, end)
    assert comparison.verdict == "bitfit"
    assert not comparison.summary.offenders
    assert comparison.summary.changed_biases == len(names)
    assert comparison.summary.judged_by["compared"] == len(names)
    assert comparison.summary.judged_by["not-in-file"] == len(base) - len(names)
    assert not comparison.unmatched_base
    assert any("biases only" in note for note in comparison.notes)
    assert row(comparison, "bert.embeddings.word_embeddings.weight").identical


def test_some_biases_and_a_head(tmp_path: Path) -> None:
    base = state("bert")
    names = [name for name in biases(base) if "query" in name or "intermediate" in name]
    tuned = move(base, *names, "classifier.weight", "classifier.bias")
    kept = {name: tuned[name] for name in (*names, "classifier.weight", "classifier.bias")}
    comparison = compared(tmp_path, base, kept, ".safetensors")
    assert comparison.verdict == "bitfit"
    assert comparison.summary.head == "changed"
    assert comparison.summary.changed_biases == len(names) == 4
    assert comparison.summary.biases == len(biases(base))


def test_a_file_with_a_matrix_is_no_file_of_biases(tmp_path: Path) -> None:
    base = state("bert")
    kept = {name: base[name] for name in (*biases(base), "bert.pooler.dense.weight")}
    comparison = compared(tmp_path, base, kept, ".safetensors")
    assert len(comparison.unmatched_base) == len(base) - len(kept)
    assert "not-in-file" not in comparison.summary.judged_by
