"""What trainers write: Lightning, DeepSpeed, FSDP, Accelerate, the Trainer, Megatron, TorchScript."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from safetensors.numpy import load_file
from support.builders import biases, model, state, write

import bitfit_probe
from bitfit_probe.checkpoint import Checkpoint, open_checkpoint
from bitfit_probe.errors import (
    CorruptError,
    EscapesError,
    MissingShardError,
    UnsafeError,
    UnsupportedError,
)

RECORDED = Path(__file__).parent / "recorded"


def assert_holds(opened: Checkpoint, expected: dict[str, Any]) -> None:
    for name, want in expected.items():
        got = opened.tensors[name]
        assert got.shape == tuple(want.shape), name
        np.testing.assert_array_equal(got.values(), np.asarray(want, np.float64), name)


# Lightning ----------------------------------------------------------------------------------------


def test_lightning_keeps_prefix_progress_and_hyperparameters(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning")

    class Module(lightning.LightningModule):
        def __init__(self, lr: float, note: str) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.model = model("bert")

        def training_step(self, batch: torch.Tensor, _: int) -> torch.Tensor:
            return self.model(batch[:, 0, :]).logits.square().sum()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            names = set(biases(state("bert")))
            trained = [p for name, p in self.model.named_parameters() if name in names]
            return torch.optim.SGD(trained, lr=self.hparams.lr)

    module = Module(0.01, "bias only")
    trainer = lightning.Trainer(
        max_steps=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, torch.utils.data.DataLoader(torch.ones(2, 1, 4, dtype=torch.long)))
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    opened = open_checkpoint(tmp_path / "x.ckpt")
    assert_holds(opened, {name: t.detach().numpy() for name, t in module.state_dict().items()})
    assert any(f"Lightning {lightning.__version__}" in n and "global_step 1" in n for n in opened.notes)
    assert any("lr=0.01, note=bias only" in note for note in opened.notes)
    (comparison,) = bitfit_probe.diff(
        write(tmp_path / "base.safetensors", state("bert")), tmp_path / "x.ckpt"
    ).comparisons
    assert comparison.verdict == "bitfit"


def test_a_lightning_file_by_hand_without_lightning(tmp_path: Path) -> None:
    content = {
        "epoch": 3,
        "global_step": 120,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": {"model.w": torch.ones(2)},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(2)}}}],
        "hyper_parameters": {"lr": 1e-3, "layers": [1, 2]},
    }
    torch.save(content, tmp_path / "x.ckpt")
    opened = open_checkpoint(tmp_path / "x.ckpt")
    assert list(opened.tensors) == ["model.w"]
    assert opened.notes == ("Lightning 2.4.0, epoch 3, global_step 120", "hyperparameters: lr=0.001")


# DeepSpeed ----------------------------------------------------------------------------------------


def zero(folder: Path, stage: int) -> Path:
    return Path(shutil.copytree(RECORDED / "deepspeed" / f"zero{stage}", folder / "zero"))


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_zero_is_what_deepspeed_itself_consolidates(stage: int) -> None:
    folder = RECORDED / "deepspeed" / f"zero{stage}"
    expected = load_file(f"{folder}-expected.safetensors")
    opened = open_checkpoint(folder)
    assert opened.format == f"DeepSpeed ZeRO {stage}, 2 ranks"
    assert_holds(opened, expected)
    # zero_to_fp32 forgets what was frozen in stage 1; the module's own copy of it is whole there.
    assert set(opened.tensors) == set(expected) | {"embeddings.weight"}
    assert_holds(open_checkpoint(folder / "global_step1"), expected)


@pytest.mark.parametrize("stage", [1, 3])
def test_a_rank_that_is_missing_is_said(tmp_path: Path, stage: int) -> None:
    folder = zero(tmp_path, stage)
    (folder / "global_step1" / "zero_pp_rank_1_mp_rank_00_optim_states.pt").unlink()
    with pytest.raises(MissingShardError, match="1 ranks, of 2"):
        open_checkpoint(folder)


def test_a_model_in_parallel_parts_is_sent_to_deepspeeds_own_tool(tmp_path: Path) -> None:
    folder = zero(tmp_path, 1)
    step = folder / "global_step1"
    shutil.copy(step / "mp_rank_00_model_states.pt", step / "mp_rank_01_model_states.pt")
    with pytest.raises(UnsupportedError, match=r"python zero_to_fp32\.py \. merged"):
        open_checkpoint(folder)


def test_partitions_that_are_too_short_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("deepspeed", reason="torch can't load and save its files without its classes")
    folder = zero(tmp_path, 3)
    path = folder / "global_step1" / "zero_pp_rank_1_mp_rank_00_optim_states.pt"
    content = torch.load(path, weights_only=False)
    groups = content["optimizer_state_dict"]["fp32_flat_groups"]
    content["optimizer_state_dict"]["fp32_flat_groups"] = [group[:-4].clone() for group in groups]
    torch.save(content, path)
    with pytest.raises(UnsupportedError, match=r"zero_to_fp32"):
        open_checkpoint(folder)


def test_latest_may_not_lead_out_of_the_directory(tmp_path: Path) -> None:
    folder = zero(tmp_path, 1)
    (folder / "latest").write_text("../../elsewhere")
    with pytest.raises(EscapesError):
        open_checkpoint(folder)


# torch.distributed.checkpoint ---------------------------------------------------------------------


def test_shards_of_fsdp_and_of_columns_are_put_together() -> None:
    expected = load_file(RECORDED / "dcp-expected.safetensors")
    opened = open_checkpoint(RECORDED / "dcp")
    assert opened.format == "torch DCP, 2 shards"
    assert set(opened.tensors) == set(expected)
    assert_holds(opened, expected)


@pytest.mark.parametrize("nested", [False, True])
def test_what_dcp_saves_from_one_process(tmp_path: Path, nested: bool) -> None:
    """As it lies, and in the folder in which Accelerate and the Trainer put FSDP's shards."""
    source = state("bert") | {"half": torch.randn(3, 4).bfloat16()}
    place = tmp_path / "x" / "pytorch_model_fsdp_0" if nested else tmp_path / "x"
    dcp.save({"model": source, "step": torch.tensor(3)}, checkpoint_id=place, no_dist=True)
    opened = open_checkpoint(tmp_path / "x")
    assert_holds(opened, {name: tensor.float().numpy() for name, tensor in source.items()})
    assert opened.tensors["half"].dtype.name == "bfloat16"


def test_a_missing_shard_and_a_path_outside_are_refused(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(RECORDED / "dcp", tmp_path / "x"))
    (folder / "__1_0.distcp").unlink()
    with pytest.raises(MissingShardError, match=r"__1_0\.distcp"):
        open_checkpoint(folder)
    data = (folder / ".metadata").read_bytes()
    (folder / ".metadata").write_bytes(data.replace(b"__1_0.distcp", b"../../etc/pw"))
    with pytest.raises(EscapesError):
        open_checkpoint(folder)
    (folder / ".metadata").write_bytes(data[:200])
    with pytest.raises(Exception, match="pickle") as e:
        open_checkpoint(folder)
    assert e.value.code in ("BE106", "BE107")


class Evil:
    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('ran')",)


def test_metadata_that_would_run_code_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".metadata").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(UnsafeError):
        open_checkpoint(tmp_path)
    (tmp_path / ".metadata").write_bytes(pickle.dumps({"state_dict_metadata": {}}))
    with pytest.raises(CorruptError):
        open_checkpoint(tmp_path)


# Accelerate, the Trainer, Megatron ----------------------------------------------------------------


def test_accelerates_state_is_its_model(tmp_path: Path) -> None:
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True)
    bert = model("bert")
    prepared, _ = accelerator.prepare(bert, torch.optim.SGD(bert.parameters(), lr=0.1))
    accelerator.save_state(str(tmp_path / "state"))
    opened = open_checkpoint(tmp_path / "state")
    assert_holds(opened, {name: t.numpy() for name, t in accelerator.get_state_dict(prepared).items()})


def test_a_trainers_checkpoint_folder(tmp_path: Path) -> None:
    import transformers

    torch.manual_seed(0)
    data = [{"input_ids": torch.arange(4), "labels": torch.tensor(1)}] * 4
    arguments = transformers.TrainingArguments(
        tmp_path / "out", max_steps=2, save_steps=1, report_to=[], use_cpu=True, disable_tqdm=True
    )
    tuned = model("bert")
    for name, parameter in tuned.named_parameters():
        parameter.requires_grad_(name in biases(state("bert")))
    transformers.Trainer(tuned, arguments, train_dataset=data).train()
    opened = open_checkpoint(tmp_path / "out" / "checkpoint-2")
    assert_holds(opened, {name: t.numpy() for name, t in tuned.state_dict().items()})
    trainer_state = opened.read_json("trainer_state.json")
    assert trainer_state is not None
    assert trainer_state["global_step"] == 2


def megatron(folder: Path, parts: int) -> Path:
    source = {"decoder.layers.0.self_attention.linear_qkv.bias": torch.ones(6)}
    for part in range(parts):
        place = folder / "iter_0000100" / f"mp_rank_{part:02}"
        place.mkdir(parents=True)
        torch.save({"model": source, "iteration": 100}, place / "model_optim_rng.pt")
    return folder


def test_megatron_in_one_part_is_read_and_in_two_refused(tmp_path: Path) -> None:
    one = open_checkpoint(megatron(tmp_path / "one", 1))
    assert list(one.tensors) == ["decoder.layers.0.self_attention.linear_qkv.bias"]
    with pytest.raises(UnsupportedError, match=r"2 parts.*parallel sizes of 1"):
        open_checkpoint(megatron(tmp_path / "two", 2))


# TorchScript --------------------------------------------------------------------------------------


class Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query = torch.nn.Linear(3, 2)
        self.layers = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm(2))
        self.register_buffer("mask", torch.ones(2))
        self.heads = 3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(self.query(x)) * self.mask


@pytest.mark.parametrize("how", ["script", "trace"])
def test_a_script_is_its_state_dict(tmp_path: Path, how: str) -> None:
    torch.manual_seed(0)
    small = Small()
    scripted = torch.jit.script(small) if how == "script" else torch.jit.trace(small, torch.ones(1, 3))
    scripted.save(str(tmp_path / "x.pt"))
    opened = open_checkpoint(tmp_path / "x.pt")
    assert opened.format == "TorchScript"
    assert set(opened.tensors) == set(small.state_dict())
    assert_holds(opened, {name: t.numpy() for name, t in small.state_dict().items()})


class Holding(torch.nn.Module):
    """Attributes of every kind that TorchScript knows: plain lists are no tensors, tensors in lists are."""

    def __init__(self) -> None:
        super().__init__()
        self.rates, self.flags, self.pair = [8000, 16000], [True], (1, 2.0, "x")
        self.listed = [torch.arange(2.0), torch.arange(3.0)]
        self.mapped = {"a": torch.arange(4.0)}
        self.nested = [[torch.arange(5.0)]]
        self.inner = torch.nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) * self.rates[0]


def test_lists_of_a_script_are_passed_over_and_tensors_in_them_are_read(tmp_path: Path) -> None:
    holding = Holding()
    torch.jit.script(holding).save(str(tmp_path / "x.pt"))
    expected = {f"inner.{name}": t.detach().numpy() for name, t in holding.inner.named_parameters()}
    lengths = {"listed.0": 2, "listed.1": 3, "mapped.a": 4, "nested.0.0": 5}
    expected |= {name: np.arange(float(length), dtype=np.float32) for name, length in lengths.items()}
    opened = open_checkpoint(tmp_path / "x.pt")
    assert set(opened.tensors) == set(expected)
    assert_holds(opened, expected)


def test_packed_tensors_of_a_script_are_refused(tmp_path: Path) -> None:
    quantised = torch.ao.quantization.quantize_dynamic(Small(), {torch.nn.Linear}, dtype=torch.qint8)
    torch.jit.script(quantised).save(str(tmp_path / "x.pt"))
    with pytest.raises(UnsupportedError, match=r"torch\.jit\.load"):
        open_checkpoint(tmp_path / "x.pt")


# Without torch ------------------------------------------------------------------------------------


def files(tmp_path: Path) -> list[Path]:
    torch.save({"state_dict": {"w": torch.ones(2)}, "pytorch-lightning_version": "2"}, tmp_path / "x.ckpt")
    return [tmp_path / "x.ckpt", RECORDED / "dcp", RECORDED / "deepspeed" / "zero3"]


def test_none_of_these_imports_torch(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys\nfrom bitfit_probe.checkpoint import open_checkpoint\n"
        "for path in sys.argv[1:]:\n"
        "    for tensor in open_checkpoint(path).tensors.values():\n        tensor.values()\n"
        "assert not {'torch', 'lightning', 'deepspeed', 'peft', 'transformers'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", code, *map(str, files(tmp_path))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
