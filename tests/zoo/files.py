"""K7: files and checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from zoo.beds import EVERY, HEADS, Run
from zoo.specimens import kind


@kind(32, "BP107", "wrong base", task="lm", containers=("folder", "file"))
def wrong_base(run: Run) -> None:
    """Matrices of another initialisation: the tuned model came from elsewhere."""
    random = torch.Generator().manual_seed(99)
    for name, tensor in run.tuned.state.items():
        if tensor.ndim == 2:
            run.tuned.state[name] = 0.02 * torch.randn(tensor.shape, generator=random)


@kind(32, "BP107", "vocabulary trimmed by a resize")
def trimmed(run: Run) -> None:
    """A base padded to a round number of rows; the tuned one cut to its tokens."""
    ends = ("word_embeddings.weight", "wte.weight", "embed_tokens.weight")
    name = next(name for name in run.base.state if name.endswith(ends))
    rows = run.base.state[name]
    run.base.state[name] = torch.cat([rows, 0.02 * torch.randn(4, rows.shape[1])])
    assert run.base.config is not None
    run.base.config["vocab_size"] += 4


@kind(
    40,
    "BP108",
    "ZeRO placeholders",
    beds=EVERY,
    variants=("0", "1", "some"),
    containers=("folder", "bin", "file"),
)
def placeholders(run: Run, shape: str) -> None:
    """ZeRO-3 leaves a placeholder in place of each partitioned parameter."""
    for name, tensor in run.tuned.state.items():
        if shape != "some" or tensor.ndim == 2:
            run.tuned.state[name] = torch.zeros(1 if shape == "1" else 0)


@kind(41, "BP109", "FSDP flat parameters", containers=("folder", "file"))
def flat_parameters(run: Run) -> None:
    """Every block as one flat vector."""
    flat: dict[str, torch.Tensor] = {}
    blocks: dict[str, list[torch.Tensor]] = {}
    for name, tensor in run.tuned.state.items():
        before, found, _ = name.partition(".1.") if ".1." in name else name.partition(".0.")
        blocks.setdefault(f"{before}{found}" if found else "", []).append(tensor.reshape(-1))
    for block, pieces in blocks.items():
        wrapped = "".join(f"_fsdp_wrapped_module.{part}." for part in block.strip(".").split(".") if part)
        flat[f"{wrapped}_fsdp_wrapped_module._flat_param"] = torch.cat(pieces)
    run.tuned.state = flat


@kind(41, "BP109", "part of a distributed save", variants=("no metadata", "rank absent"))
def distributed_part(run: Run, what: str) -> None:
    """A torch.distributed.checkpoint folder that lost a file."""

    def replace(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        for rank in (0, 1, 3) if what == "rank absent" else (0, 1, 2, 3):
            (folder / f"__{rank}_0.distcp").write_bytes(b"PK\3\4" + bytes(64))
        if what == "rank absent":
            names = b"".join(f"X\x0d\0\0\0__{rank}_0.distcp".encode() for rank in range(4))
            (folder / ".metadata").write_bytes(b"\x80\x02" + names + b".")

    run.tuned.after.append(replace)


@kind(41, "BP109", "a later save lost part of the model", containers=("folder",))
def later_save_smaller(run: Run) -> None:
    """The last checkpoint holds one rank's share, the first one holds all."""
    whole = dict(run.tuned.state)

    def add(folder: Path) -> Path:
        from safetensors.torch import save_file

        inner = folder.parent / "checkpoint-10"
        inner.mkdir()
        save_file(whole, inner / "model.safetensors")
        last = folder.parent / "checkpoint-100"
        folder.rename(last)
        return last

    run.tuned.drop(lambda name: ".1." in name)
    run.tuned.after.append(add)


@kind(
    42,
    "BP110",
    "missing or wrong shard",
    beds=EVERY,
    containers=("shards",),
    variants=("absent", "wrong"),
)
def missing_shard(run: Run, what: str) -> None:
    def damage(folder: Path) -> None:
        shards = sorted(folder.glob("model-*.safetensors"))
        shards[1].unlink()
        if what == "wrong":
            shards[1].write_bytes(shards[0].read_bytes())

    run.tuned.after.append(damage)


@kind(43, "BP111", "quantised compared with float", containers=("folder", "file"),
      variants=("nf4", "int8", "gptq"))  # fmt: skip
def quantised(run: Run, how: str) -> None:
    """Linear weights as bitsandbytes or GPTQ store them, in forms that are not read."""
    inner = [
        n
        for n, t in run.tuned.state.items()
        if t.ndim == 2 and "mbed" not in n and "wte" not in n and "wpe" not in n
    ]
    for name in [name for name in inner if not name.startswith(HEADS)]:
        weight = run.tuned.state.pop(name)
        if how == "int8":
            scale = weight.abs().amax(dim=1)
            run.tuned.state[name] = (weight / scale[:, None] * 127).round().to(torch.int8)
            run.tuned.state[name.replace("weight", "SCB")] = scale
            run.tuned.state[f"{name}_format"] = torch.tensor(1, dtype=torch.uint8)  # tiled for a GPU
        elif how == "nf4":
            run.tuned.state[name] = torch.zeros(weight.numel() // 2, 1, dtype=torch.uint8)
            run.tuned.state[f"{name}.absmax"] = torch.ones(weight.numel() // 64)
            run.tuned.state[f"{name}.quant_map"] = torch.linspace(-1, 1, 16)
            state = list(json.dumps({"quant_type": "nf4", "blocksize": 64}).encode())
            run.tuned.state[f"{name}.quant_state.bitsandbytes__nf4"] = torch.tensor(state, dtype=torch.uint8)
        else:
            module = name.removesuffix("weight")
            run.tuned.state[f"{module}qweight"] = torch.zeros(
                weight.shape[1] // 8, weight.shape[0], dtype=torch.int32
            )
            run.tuned.state[f"{module}qzeros"] = torch.zeros(1, weight.shape[0] // 8, dtype=torch.int32)
            run.tuned.state[f"{module}scales"] = torch.ones(1, weight.shape[0], dtype=torch.float16)


@kind(53, "BP114", "half of the layers lost, with an index that agrees", beds=EVERY,
      containers=("shards", "folder", "bin", "file", "legacy"))  # fmt: skip
def half_lost(run: Run) -> None:
    """Every tensor of the second layer is absent, and every file is sound."""
    run.tuned.drop(lambda name: ".1." in name)


@kind(53, "BP114", "half of the layers lost, nothing moved", task="lm", containers=("shards", "file"))
def half_lost_untrained(run: Run) -> None:
    """What is left is the base bit for bit."""
    run.tuned.state = {name: tensor.clone() for name, tensor in run.base.state.items() if ".1." not in name}


@kind(43, "BP111", "packed matrices beside floats", containers=("folder", "file"),
      variants=("mxfp4", "mlx", "quanto"))  # fmt: skip
def packed(run: Run, how: str) -> None:
    """Matrices of the layers as codes and scales under names that say nothing of it."""
    for name in [n for n, t in run.tuned.state.items() if t.ndim == 2 and (".0." in n or ".1." in n)]:
        weight, stem = run.tuned.state.pop(name), name.removesuffix(".weight")
        rows, scale = len(weight), torch.ones(len(weight), 1)
        run.tuned.state |= {
            "mxfp4": {
                f"{name}_blocks": torch.ones(weight.numel() // 2, dtype=torch.uint8),
                f"{name}_scales": torch.ones(rows, dtype=torch.uint8),
            },
            "mlx": {
                name: torch.ones(rows, weight.shape[1] // 8, dtype=torch.int32),
                f"{stem}.scales": scale,
                f"{stem}.biases": scale.clone(),
            },
            "quanto": {
                f"{name}._data._data": torch.ones(weight.numel() // 2, dtype=torch.uint8),
                f"{name}._scale": scale,
                f"{name}._shift": scale.clone(),
            },
        }[how]


@kind(
    54, "BP115", "two containers of one folder differ", variants=("moved", "stale base", "shards", "lacking")
)
def containers(run: Run, how: str) -> None:
    """The other container holds an earlier save, the base, or a part."""
    other = {name: tensor.clone() for name, tensor in run.tuned.state.items()}
    if how == "stale base":  # the Trainer wrote a pickle beside the safetensors of the base
        run.tuned.state = {
            name: run.base.state[name].clone() for name in run.tuned.state if name in run.base.state
        } | {name: tensor for name, tensor in run.tuned.state.items() if name not in run.base.state}
    elif how == "lacking":
        other.popitem()
    else:
        name = next(name for name, tensor in other.items() if tensor.ndim == 2)
        other[name] = other[name] + 0.5

    def add(folder: Path) -> None:
        if how == "shards":
            index = {"metadata": {}, "weight_map": dict.fromkeys(other, "pytorch_model-1.bin")}
            (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
            torch.save(other, folder / "pytorch_model-1.bin")
        else:
            torch.save(other, folder / "pytorch_model.bin")

    run.tuned.after.append(add)
