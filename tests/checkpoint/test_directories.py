"""Shards, indexes and directories as transformers writes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertModel

from bitfit_probe.checkpoint import Checkpoint, open_checkpoint
from bitfit_probe.errors import AmbiguousError, EmptyError

Same = Callable[[Checkpoint, dict[str, torch.Tensor]], None]


@pytest.fixture(scope="module")
def model() -> BertModel:
    torch.manual_seed(0)
    return BertModel(
        BertConfig(
            vocab_size=50,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=24,
            max_position_embeddings=16,
        )
    )


def by_file_order(opened: Checkpoint, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    assert set(opened.tensors) == set(state)
    return {name: state[name] for name in opened.tensors}


def write_shards(folder: Path, state: dict[str, torch.Tensor], stem: str, suffix: str) -> Path:
    """Two shards and their index, laid out as transformers 4 wrote ``pytorch_model.bin`` and its index."""
    names = list(state)
    parts = {
        f"{stem}-00001-of-00002.{suffix}": names[: len(names) // 2],
        f"{stem}-00002-of-00002.{suffix}": names[len(names) // 2 :],
    }
    for file, members in parts.items():
        part = {name: state[name] for name in members}
        if suffix == "safetensors":
            save_file(part, folder / file)
        else:
            torch.save(part, folder / file)
    index = folder / f"{stem}.{suffix}.index.json"
    weight_map = {name: file for file, members in parts.items() for name in members}
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    return index


def test_save_pretrained_in_one_file_and_in_shards(tmp_path: Path, model: BertModel, same: Same) -> None:
    single, sharded = tmp_path / "single", tmp_path / "sharded"
    model.save_pretrained(single)
    model.save_pretrained(sharded, max_shard_size="5KB")
    shards = sorted(sharded.glob("model-*.safetensors"))
    assert len(shards) > 2
    state = model.state_dict()
    one, many = open_checkpoint(single), open_checkpoint(sharded)
    same(one, by_file_order(one, state))
    same(many, by_file_order(many, state))
    # The index as well: one that is rewritten meanwhile is noticed.
    assert sorted(file.path for file in many.files) == [*shards, sharded / "model.safetensors.index.json"]
    assert many.format == f"safetensors, {len(shards)} shards"
    assert many.config["hidden_size"] == 16
    index = open_checkpoint(sharded / "model.safetensors.index.json")
    same(index, by_file_order(index, state))
    assert index.folder == sharded
    assert index.config == many.config


@pytest.mark.parametrize(("stem", "suffix"), [("pytorch_model", "bin"), ("model", "safetensors")])
def test_shards_by_hand(tmp_path: Path, model: BertModel, same: Same, stem: str, suffix: str) -> None:
    state = dict(model.state_dict())
    index = write_shards(tmp_path, state, stem, suffix)
    same(open_checkpoint(index), state)
    same(open_checkpoint(tmp_path), state)


def test_a_shard_may_hold_more_than_the_index_takes(tmp_path: Path, same: Same) -> None:
    torch.save({"a": torch.ones(2), "b": torch.zeros(2)}, tmp_path / "one.bin")
    (tmp_path / "x.index.json").write_text(json.dumps({"weight_map": {"b": "one.bin"}}))
    same(open_checkpoint(tmp_path / "x.index.json"), {"b": torch.zeros(2)})


def test_a_hub_cache_links_its_files_to_blobs(tmp_path: Path, model: BertModel, same: Same) -> None:
    snapshot, blobs = tmp_path / "snapshots" / "abc", tmp_path / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    write_shards(snapshot, dict(model.state_dict()), "model", "safetensors")
    for path in list(snapshot.iterdir()):
        path.rename(blobs / path.name)
        path.symlink_to(Path("../../blobs", path.name))
    same(open_checkpoint(snapshot), dict(model.state_dict()))


def test_precedence_and_siblings(tmp_path: Path, same: Same) -> None:
    values = {
        name: {"w": torch.full((2,), float(i))} for i, name in enumerate(("single", "shards", "bin", "bins"))
    }
    bins = write_shards(tmp_path, values["bins"], "pytorch_model", "bin")
    same(open_checkpoint(tmp_path), values["bins"])
    torch.save(values["bin"], tmp_path / "pytorch_model.bin")
    same(open_checkpoint(tmp_path), values["bin"])
    assert open_checkpoint(tmp_path).siblings == (bins,)
    shards = write_shards(tmp_path, values["shards"], "model", "safetensors")
    same(open_checkpoint(tmp_path), values["shards"])
    save_file(values["single"], tmp_path / "model.safetensors")
    opened = open_checkpoint(tmp_path)
    same(opened, values["single"])
    assert opened.siblings == (shards, tmp_path / "pytorch_model.bin", bins)
    assert opened.path == tmp_path


def test_one_file_of_any_name_is_taken_and_trainer_files_do_not_count(tmp_path: Path, same: Same) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "best.ckpt")
    for name in ("optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state.pth", "training_args.bin"):
        torch.save({"x": torch.zeros(2)}, tmp_path / name)
    (tmp_path / "notes.txt").write_text("hello")
    same(open_checkpoint(tmp_path), {"w": torch.ones(2)})


def test_several_files_of_any_name_are_ambiguous(tmp_path: Path) -> None:
    for name in ("epoch1.pt", "epoch2.pt"):
        torch.save({"w": torch.ones(2)}, tmp_path / name)
    with pytest.raises(AmbiguousError, match=r"epoch1\.pt, epoch2\.pt"):
        open_checkpoint(tmp_path)


def test_folders_without_weights_say_what_they_hold(tmp_path: Path) -> None:
    with pytest.raises(EmptyError, match=r"no weight file"):
        open_checkpoint(tmp_path)
    (tmp_path / "checkpoint-500").mkdir()
    with pytest.raises(EmptyError, match=r"1 checkpoint folder.*checkpoint-500"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("text", ["", "[1]", "{", "[" * 100_000, "\ufeff{}"])
def test_a_broken_config_counts_as_none(tmp_path: Path, text: str) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    assert open_checkpoint(tmp_path).config == {}
