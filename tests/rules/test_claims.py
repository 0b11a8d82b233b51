"""What a run claims against what moved: `check --expect`, cards and names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.builders import State, biases, config_of, copied, move, state, write

import bitfit_probe as bp
from bitfit_probe.cli import run
from bitfit_probe.records import Finding
from bitfit_probe.records.options import Expected

MATRICES = {"bert": "output.dense.weight", "llama": "down_proj.weight"}


def low_rank(kind: str) -> State:
    """Two matrices a layer with an update of rank 2."""
    out, random = copied(state(kind)), torch.Generator().manual_seed(1)
    for name in out:
        if name.endswith(MATRICES[kind]):
            rows, columns = out[name].shape
            b, a = torch.randn(rows, 2, generator=random), torch.randn(2, columns, generator=random)
            out[name] += 0.02 * b @ a
    return out


def runs(kind: str = "bert") -> dict[str, State]:
    base = state(kind)
    norms = [n for n in base if "orm" in n and n.endswith("weight")]
    heads = [n for n in base if n.startswith(("classifier", "lm_head"))]
    return {
        "bitfit": move(base, *biases(base), by=0.05),
        "bitfit+norm": move(base, *biases(base), *norms, by=0.05),
        "lora": low_rank(kind),
        "head": move(base, *heads, by=0.05),
        "full": move(base, *base, by=0.01),
    }


def found(
    folder: Path, tuned: State, expect: Expected | None, kind: str = "bert", name: str = "tuned"
) -> list[Finding]:
    base = write(folder / "base", state(kind), config_of(kind))
    path = write(folder / "tuned", tuned, config_of(kind))
    return [
        item
        for item in bp.check(base, path, options=bp.CheckOptions(expect=expect)).findings
        if item.code == "BP714"
    ]


METHODS: tuple[Expected, ...] = ("bitfit", "bitfit+norm", "lora", "head", "full")


@pytest.mark.parametrize("method", METHODS)
def test_a_run_is_what_it_is_expected_to_be_and_nothing_else(tmp_path: Path, method: Expected) -> None:
    tuned = runs()[method]
    # More than is claimed may not move; less may, where something of it did.
    fitting = {"bitfit": {"bitfit", "bitfit+norm"}}.get(method, {method})
    for expect in METHODS:
        errors = [item.severity for item in found(tmp_path / expect, tuned, expect)]
        assert (errors == []) == (expect in fitting), expect
        assert set(errors) <= {"error"}


@pytest.mark.parametrize("method", ["lora", "full"])
def test_decoders_too(tmp_path: Path, method: Expected) -> None:
    tuned = runs("llama")
    assert found(tmp_path / "one", tuned[method], method, "llama") == []
    assert found(tmp_path / "two", tuned["full"], "lora", "llama")


def test_one_matrix_that_moved_beside_the_biases_fails_the_gate(tmp_path: Path) -> None:
    stray = "bert.encoder.layer.0.output.dense.weight"
    tuned = move(runs()["bitfit"], stray, by=0.01)
    (finding,) = found(tmp_path, tuned, "bitfit")
    assert finding.subjects == (stray,)
    assert "--expect bitfit promises that biases alone move" in finding.message
    assert "1 matrix moved too" in finding.message
    base, path = str(tmp_path / "base"), str(tmp_path / "tuned")
    assert run(["check", base, path, "--quiet"]) == 0  # BP301 warns
    assert run(["check", base, path, "--quiet", "--expect", "bitfit"]) == 1


def test_a_norm_that_moved_beside_a_low_rank(tmp_path: Path) -> None:
    norm = "bert.encoder.layer.1.output.LayerNorm.weight"
    (finding,) = found(tmp_path, move(low_rank("bert"), norm), "lora")
    assert finding.subjects == (norm,)


def test_a_cast_is_no_movement(tmp_path: Path) -> None:
    tuned = {name: tensor.to(torch.bfloat16) for name, tensor in runs()["head"].items()}
    assert found(tmp_path, tuned, "head") == []


@pytest.mark.parametrize(
    ("card", "method", "count"),
    [
        ("---\ntags:\n- lora\n---\n", "full", 1),
        ("---\ntags:\n- lora\n---\n", "lora", 0),
        ("- lora\n", "full", 0),
    ],
)
def test_a_model_card_that_says_what_was_trained(
    tmp_path: Path, card: str, method: Expected, count: int
) -> None:
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / "README.md").write_text(card)
    warned = found(tmp_path, runs()[method], None)
    assert [item.severity for item in warned] == ["warning"] * count
    assert all("README.md, which says lora, promises" in item.message for item in warned)
