"""``identify`` and `bitfit_probe.identify`: which base a checkpoint was tuned from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support.builders import State, biases, cast, config_of, move, state, write

import bitfit_probe as bp
from bitfit_probe.cli import run
from bitfit_probe.errors import NotFoundError


def relative_of(source: State, by: float, seed: int = 5) -> State:
    """Another fine-tune of the same model: every tensor moved by noise."""
    random = torch.Generator().manual_seed(seed)
    return {name: t + by * torch.randn(t.shape, generator=random) for name, t in source.items()}


def redrawn(source: State) -> State:
    random = torch.Generator().manual_seed(9)
    return {name: torch.randn(t.shape, generator=random) * 0.1 for name, t in source.items()}


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama"])
@pytest.mark.parametrize("ending", ["", ".pt", ".index.json"])
def test_the_base_is_told_from_a_relative_and_a_stranger(tmp_path: Path, kind: str, ending: str) -> None:
    base = state(kind)
    tuned = write(tmp_path / "tuned", move(base, *base, by=0.01), config_of(kind))
    paths = [
        write(tmp_path / name / f"model{ending}", tensors)
        for name, tensors in (
            ("stranger", redrawn(base)),
            ("relative", relative_of(base, 0.03)),
            ("base", base),
        )
        if (tmp_path / name).mkdir() is None
    ]
    found = bp.identify(tuned, *paths)
    assert found.standing == "told"
    assert [Path(item.path) for item in found.candidates] == paths[::-1]
    # Noise of 0.01 beside noise of √(0.01² + 0.03²): √10 times as far.
    assert found.margin == pytest.approx(10**0.5, rel=0.05)
    assert found.nearer == 1.0


def test_the_distance_is_the_planted_one(tmp_path: Path) -> None:
    base = {f"layers.{n}.self_attn.q_proj.weight": torch.randn(64, 32) for n in range(4)}
    tuned = {name: tensor * 1.25 for name, tensor in base.items()}
    paths = [write(tmp_path / f"{n}.safetensors", t) for n, t in (("base", base), ("tuned", tuned))]
    (item,) = bp.identify(paths[1], paths[0]).candidates
    assert item.distance == pytest.approx(0.25 / 1.25, rel=1e-6)
    assert (item.cosine, item.equal, item.tensors) == (pytest.approx(1.0), 0.0, 4)


def test_none_of_these(tmp_path: Path) -> None:
    base = state("bert")
    tuned = write(tmp_path / "tuned", move(base, *base), config_of("bert"))
    stranger = write(tmp_path / "stranger", redrawn(base), config_of("bert"))
    other = write(tmp_path / "other", state("gpt2"), config_of("gpt2"))
    assert bp.identify(tuned, stranger).standing == "none"
    assert bp.identify(tuned, other).standing == "none"
    assert bp.identify(tuned, other).candidates[0].is_other


def test_two_copies_of_one_base_can_not_be_told_apart(tmp_path: Path) -> None:
    base = state("bert")
    tuned = write(tmp_path / "tuned.safetensors", move(base, *biases(base)))
    one = write(tmp_path / "one.safetensors", base)
    two = write(tmp_path / "two.pt", cast(base, torch.float32))
    found = bp.identify(tuned, one, two)
    assert (found.standing, found.margin) == ("tied", 1.0)


def test_a_bitfit_run_has_the_matrices_of_its_base(tmp_path: Path) -> None:
    base = state("bert")
    tuned = write(tmp_path / "tuned.safetensors", move(base, *biases(base)))
    paths = [
        write(tmp_path / "relative.safetensors", relative_of(base, 1e-4)),
        write(tmp_path / "base.safetensors", base),
    ]
    found = bp.identify(tuned, *paths)
    assert (found.standing, found.candidates[0].distance, found.candidates[0].equal) == ("told", 0.0, 1.0)
    assert found.margin == float("inf")


def test_the_rows_are_those_of_the_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitfit_probe.measures.nearest_base._ELEMENTS", 64)
    base = state("llama")
    paths = [
        write(tmp_path / "base.safetensors", base),
        write(tmp_path / "t.safetensors", move(base, *base)),
    ]
    found = [bp.identify(paths[1], paths[0], seed=seed).candidates[0] for seed in (0, 0, 1)]
    assert found[0] == found[1]
    assert found[0].distance != found[2].distance
    assert found[0].elements <= 64 * found[0].tensors


def test_an_adapter_can_not_tell_but_may_name_its_base(tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    stem = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    factors = {f"{stem}A.weight": torch.ones(2, 32), f"{stem}B.weight": torch.ones(32, 2)}
    write(tmp_path / "a.safetensors", factors).rename(tmp_path / "adapter" / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "base_model_name_or_path": "org/base"}
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(settings))
    base = write(tmp_path / "base", state("llama"), config_of("llama"))
    found = bp.identify(tmp_path / "adapter", base)
    assert (found.standing, found.named, found.candidates[0].is_named) == ("untold", "org/base", True)


def test_exit_status_and_both_formats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = state("bert")
    tuned = write(tmp_path / "tuned.safetensors", move(base, *base))
    right = write(tmp_path / "right.safetensors", base)
    wrong = write(tmp_path / "wrong.safetensors", redrawn(base))
    assert run(["identify", str(tuned), str(wrong), str(right)]) == 0
    text = capsys.readouterr().out
    assert text.replace("\n", "").replace(" ", "").startswith(f"Tunedfrom{right}")
    assert run(["identify", str(tuned), str(wrong), "--format", "json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["standing"], document["candidates"][0]["path"]) == ("none", str(wrong))
    assert run(["identify", str(tmp_path / "nothing"), str(right)]) == 2


def test_a_base_that_can_not_be_read_is_listed_and_the_checkpoint_must_be(tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors", state("bert"))
    found = bp.identify(path, tmp_path / "nothing.pt", path)
    assert found.standing == "told"
    assert found.candidates[1].why == "no such file or directory"
    for given in ((tmp_path / "nothing.pt", path), (path, tmp_path / "nothing.pt")):
        with pytest.raises(NotFoundError):
            bp.identify(*given)
