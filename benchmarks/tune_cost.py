"""Seconds a step and peak memory of BitFit, LoRA and full fine-tuning on the same batch.

    python -m benchmarks.tune_cost [MODEL ...] [--batch 32] [--length 64] [--write docs/tuning.md]

Every figure comes from a process of its own, the methods in turns, the least of all steps and rounds, which a
busy machine disturbs least. MODEL is a model
directory, or the name of a shape that is filled with random values (`bert-base`). On a GPU the same command
measures there. Memory is what training adds to the loaded model: on a CPU the process's peak over what it
held before the first step, on a GPU torch's own count.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.materials import DEFAULT, MINILM
from benchmarks.tuned import put_into

METHODS = ("bitfit", "lora", "full")
WARM, COUNTED = 2, 6
MARK = "<!-- table: benchmarks.tune_cost -->"
SHAPES = {"bert-base": {}}
CACHE = Path(__file__).parent / ".cache" / "tune"


def located(model: str) -> Path:
    """The directory of a model; a shape is made once."""
    if model not in SHAPES:
        return Path(model)
    folder = CACHE / model
    if not (folder / "model.safetensors").exists():
        import transformers

        transformers.BertModel(transformers.BertConfig(**SHAPES[model])).save_pretrained(folder)
    return folder


def measure(model: Path, method: str, batch: int, length: int) -> dict[str, Any]:
    """Train a few steps on one random batch."""
    import torch

    from bitfit_probe.checkpoint import open_checkpoint
    from bitfit_probe.data import Columns, TaskData
    from bitfit_probe.tuning.build import build
    from bitfit_probe.tuning.options import TuneOptions

    data = TaskData(("a",) * 2, None, (0, 1), ("0", "1"), "classification", Columns())
    built = build(open_checkpoint(model), data, "classify", TuneOptions(method=method))  # type: ignore[arg-type]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = built.model.to(device).train()
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-4)
    ids = torch.randint(1000, 20000, (batch, length), device=device)
    labels = torch.randint(0, 2, (batch,), device=device)
    before = held(device)
    seconds = []
    for _ in range(WARM + COUNTED):
        start = time.perf_counter()
        network(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return {
        "method": method,
        "seconds": min(seconds[WARM:]),
        "added": peak(device) - before,
        "trained": built.trained,
        "total": built.total,
        "device": torch.cuda.get_device_name()
        if device == "cuda"
        else f"CPU, {torch.get_num_threads()} threads",
    }


def held(device: str) -> int:
    """Bytes in use now; on Linux the process's peak starts anew."""
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
        return int(torch.cuda.memory_allocated())
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")


def peak(device: str) -> int:
    if device == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated())
    return status("VmHWM")


def status(name: str) -> int:
    """A figure of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])


def in_own_process(model: Path, method: str, batch: int, length: int) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.tune_cost", str(model), "--only", method]
    command += ["--batch", str(batch), "--length", str(length)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(models: list[str], batch: int, length: int, rounds: int) -> str:
    lines = [
        "| model | method | trained parameters | seconds a step | memory that training adds |",
        "|---|---|---:|---:|---:|",
    ]
    device = ""
    for model in models:
        runs = [in_own_process(located(model), m, batch, length) for _ in range(rounds) for m in METHODS]
        best = {}
        for method in METHODS:
            same = [run for run in runs if run["method"] == method]
            best[method] = same[0] | {key: min(run[key] for run in same) for key in ("seconds", "added")}
        full, device = best["full"], best["full"]["device"]
        name = Path(model).name.rpartition("__")[2]
        lines += [
            f"| {name} | {method} | {run['trained']:,} of {run['total']:,} "
            f"| {run['seconds']:.3f} ({run['seconds'] / full['seconds']:.2f}×) "
            f"| {run['added'] / 2**20:,.0f} MiB ({run['added'] / full['added']:.2f}×) |"
            for method, run in best.items()
        ]
    import torch

    head = f"Batches of {batch} × {length} tokens, float32, AdamW; {device}, torch {torch.__version__}."
    return head + "\n\n" + "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=[str(DEFAULT / MINILM)])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument("--write", type=Path, help="put the table into this page")
    asked = parser.parse_args()
    if asked.only:
        print(json.dumps(measure(Path(asked.models[0]), asked.only, asked.batch, asked.length)))
        return
    text = table(asked.models, asked.batch, asked.length, asked.rounds)
    if asked.write:
        put_into(asked.write, text, MARK)
    else:
        print(text)


if __name__ == "__main__":
    main()
