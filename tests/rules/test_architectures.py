"""No alarm on sound runs of every architecture that is known, nor on real fine-tunes."""

from __future__ import annotations

import json
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures.conftest import ROWS, Row
from support.checking import codes
from zoo.beds import Model, train

MATERIALS = Path(__file__).parents[2] / "benchmarks" / ".cache" / "materials"


@cache
def _one_a_type() -> tuple[Row, ...]:
    """The first row of each model type: a classifier or a language model."""
    return tuple({row.model_type: row for row in reversed(ROWS)}.values())


def _model(name: str, settings: dict[str, Any], seed: int) -> tuple[Any, dict[str, Any]]:
    import transformers

    cls = getattr(transformers, name)
    config = cls.config_class(**settings)
    config.architectures = [name]
    if "Classification" in name:
        config.id2label, config.label2id = {0: "no", 1: "yes", 2: "maybe"}, {"no": 0, "yes": 1, "maybe": 2}
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return cls(config), json.loads(config.to_json_string(use_diff=False))


def _state(model: Any) -> tuple[dict[str, torch.Tensor], set[str]]:
    """Its tensors without second names of tied ones, and which of them are parameters."""
    seen: set[int] = set()
    state = {}
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in seen or not tensor.numel():
            seen.add(tensor.data_ptr())
            state[name] = tensor.clone()
    return state, {name for name, _ in model.named_parameters(remove_duplicate=False)} & state.keys()


@pytest.mark.parametrize("row", _one_a_type(), ids=lambda row: row.task)
@pytest.mark.parametrize("method", ["bitfit", "full"])
def test_a_sound_run_raises_no_alarm(tmp_path: Path, row: Row, method: str) -> None:
    """From the bare model with noise on every bias to its task model: biases and head, or everything."""
    (bare, settings), (task, task_settings) = (
        _model(row.bare, row.settings, 1),
        _model(row.task, row.settings, 2),
    )
    base, parameters = _state(bare)
    for name in parameters:
        if name.endswith("bias"):
            base[name] += 0.1 * torch.randn_like(base[name])
    tuned, parameters = _state(task)
    prefix = f"{task.base_model_prefix}." if task.base_model is not task else ""
    shared = {n for n in tuned if base.get(n.removeprefix(prefix), torch.ones(0)).shape == tuned[n].shape}
    tuned |= {name: base[name.removeprefix(prefix)].clone() for name in shared}
    biases = [name for name in parameters if name.endswith("bias")]
    if method == "bitfit":
        chosen = biases if len(biases) > 3 else [name for name in parameters if "norm" in name.lower()]
        train(tuned, sorted({*chosen, *(parameters - shared)}))
    else:
        train(tuned, sorted(parameters), lr=2e-5, steps=300)
    paths = [
        Model(base, settings).save(tmp_path / "base", "folder"),
        Model(tuned, task_settings).save(tmp_path / "tuned", "folder"),
    ]

    assert codes(*paths) == []


@pytest.mark.materials
@pytest.mark.parametrize("name", ["bert_ft", "bert_ft_10k_25s"])
def test_a_real_fine_tune_raises_no_alarm(name: str) -> None:
    """Two full fine-tunes of a real base: one without its head and prefix, one with odd labels."""
    folder = MATERIALS / "rxnfp" / "rxnfp" / "models" / "transformers"
    if not folder.is_dir():
        pytest.skip("real checkpoints are not there: run `make materials`")

    assert codes(folder / "bert_pretrained", folder / name) == []
