"""What `check` costs beside `diff`, on pairs as large as BERT-base.

    python -m benchmarks.check_speed [--write FILE] [--rounds N]

Whole processes, imports included, on a warm page cache; `diff` and `check` run in turns and the minimum of
each counts, so that whatever else the machine does falls on both.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

CACHE = Path(__file__).parent / ".cache" / "check" / "speed"
_HIDDEN, _LAYERS, _VOCABULARY, _INNER = 768, 12, 30_522, 3_072
_PAIRS = {
    "BitFit": "bitfit",
    "every tensor changed": "full",
    "a merged LoRA beside its adapter": "merged",
}


def shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of BERT-base (Devlin et al. 2019), 109M parameters."""
    out: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (_VOCABULARY, _HIDDEN),
        "embeddings.position_embeddings.weight": (512, _HIDDEN),
        "embeddings.token_type_embeddings.weight": (2, _HIDDEN),
        "pooler.dense.weight": (_HIDDEN, _HIDDEN),
        "pooler.dense.bias": (_HIDDEN,),
    }
    modules = ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"]
    norms = ["embeddings.LayerNorm"]
    for layer in range(_LAYERS):
        stem = f"encoder.layer.{layer}"
        norms += [f"{stem}.attention.output.LayerNorm", f"{stem}.output.LayerNorm"]
        sizes = [(module, _HIDDEN, _HIDDEN) for module in modules]
        for module, rows, columns in (
            *sizes,
            ("intermediate.dense", _INNER, _HIDDEN),
            ("output.dense", _HIDDEN, _INNER),
        ):
            out |= {f"{stem}.{module}.weight": (rows, columns), f"{stem}.{module}.bias": (rows,)}
    for norm in norms:
        out[f"{norm}.weight"] = out[f"{norm}.bias"] = (_HIDDEN,)
    return out


def make_files() -> None:
    """Write the base and three fine-tunes of it, with the configuration and log that a trainer leaves."""
    if (CACHE / "done").exists():
        return
    random = np.random.default_rng(0)
    base = {name: 0.02 * random.standard_normal(shape, np.float32) for name, shape in shapes().items()}
    for name in base:
        if name.endswith("LayerNorm.weight"):
            base[name] += 1
    noise = {name: 1e-2 * random.standard_normal(value.shape, np.float32) for name, value in base.items()}
    _write("base", base)
    _write("bitfit", {name: v + noise[name] if name.endswith("bias") else v for name, v in base.items()})
    _write("full", {name: value + noise[name] / 10 for name, value in base.items()})
    _write_merge(base, random)
    (CACHE / "done").touch()


def _write(label: str, state: dict[str, np.ndarray]) -> Path:
    folder = CACHE / label
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / "model.safetensors")
    config = {"model_type": "bert", "architectures": ["BertModel"], "vocab_size": _VOCABULARY}
    (folder / "config.json").write_text(json.dumps(config))
    if label != "base":
        log = [
            {"step": s, "loss": 1 / s, "learning_rate": 1e-3 * (1 - s / 1000)} for s in range(10, 1001, 10)
        ]
        (folder / "trainer_state.json").write_text(json.dumps({"global_step": 1000, "log_history": log}))
    return folder


def _write_merge(base: dict[str, np.ndarray], random: np.random.Generator) -> None:
    merged, adapter = dict(base), {}
    for name in [name for name in base if name.endswith(("query.weight", "value.weight"))]:
        a = random.standard_normal((8, _HIDDEN), np.float32) / _HIDDEN**0.5
        b = 0.01 * random.standard_normal((_HIDDEN, 8), np.float32)
        merged[name] = base[name] + 2 * b @ a
        module = f"base_model.model.{name.removesuffix('.weight')}"
        adapter |= {f"{module}.lora_A.weight": a, f"{module}.lora_B.weight": b}
    folder = _write("merged", merged)
    save_file(adapter, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["query", "value"]}
    (folder / "adapter_config.json").write_text(json.dumps(settings))


def _seconds(command: str, label: str) -> tuple[float, float]:
    """Wall and processor seconds of one run, children included."""
    arguments = [sys.executable, "-m", "bitfit_probe", command, "--format", "json", "--quiet"]
    start = time.perf_counter()
    process = subprocess.Popen([*arguments, CACHE / "base", CACHE / label], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        sys.exit(f"{command} failed on {label}")
    return time.perf_counter() - start, used.ru_utime + used.ru_stime


def measure(label: str, rounds: int) -> dict[str, tuple[float, float]]:
    """Seconds of `diff` and `check`, the minimum of `rounds` in turns."""
    best = {"diff": (float("inf"),) * 2, "check": (float("inf"),) * 2}
    _seconds("diff", label)  # fills the page cache
    for _ in range(rounds):
        for command, known in best.items():
            wall, processor = _seconds(command, label)
            best[command] = min(known[0], wall), min(known[1], processor)
    return best


def engines(label: str, rounds: int) -> tuple[float, float, float]:
    """Processor seconds of comparing, then of forms, then of siblings and the judgement of training."""
    from bitfit_probe.forms import forms_of_pair
    from bitfit_probe.measures.training_sufficiency import adequacy_of
    from bitfit_probe.pair import Pair

    best = [float("inf")] * 3
    for _ in range(rounds):
        pair = Pair.open(CACHE / "base", CACHE / label)
        times = [_processor()]
        for work in (lambda pair: pair.compared, forms_of_pair, adequacy_of):
            work(pair)
            times.append(_processor())
        best = [
            min(known, after - before) for known, before, after in zip(best, times, times[1:], strict=False)
        ]
    return best[0], best[1], best[2]


def _processor() -> float:
    """Processor seconds of this process and its children that ended."""
    return sum(os.times()[:4])


def engine_table(rounds: int) -> list[str]:
    """What forms and siblings add to the comparison that they look at, in one process."""
    lines = [
        "",
        "## What the engines add",
        "",
        "Processor seconds in one process, imports aside: the comparison, the forms of its tensors, then "
        "siblings and the judgement of training, which read nothing again.",
        "",
        "| pair | comparison | forms | siblings | more |",
        "|---|---:|---:|---:|---:|",
    ]
    for title, label in _PAIRS.items():
        compared, forms, siblings = engines(label, rounds)
        more = (forms + siblings) / compared
        lines.append(f"| {title} | {compared:.2f} s | {forms:.2f} s | {siblings:.3f} s | {more:+.0%} |")
        print(lines[-1], file=sys.stderr, flush=True)
    return lines


def table(rounds: int) -> str:
    """The results in Markdown."""
    lines = [
        "# What `check` costs",
        "",
        "Made by `python -m benchmarks.check_speed`. Whole processes on a warm page cache, in turns, the "
        f"minimum of {rounds}; the pairs have BERT-base's shapes and random values. Processor time counts "
        "both "
        "processes of the comparison, and other programs on the machine disturb it least.",
        "",
        "| pair | diff | check | more | diff, processor | check, processor | more |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for title, label in _PAIRS.items():
        best = measure(label, rounds)
        cells = [
            f"{best['diff'][at]:.2f} s | {best['check'][at]:.2f} s | "
            f"{best['check'][at] / best['diff'][at] - 1:+.0%}"
            for at in (0, 1)
        ]
        lines.append(f"| {title} | {' | '.join(cells)} |")
        print(lines[-1], file=sys.stderr, flush=True)
    lines += engine_table(rounds)
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, help="also write the table to this file")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    make_files()
    text = table(options.rounds)
    print(text)
    if options.write:
        options.write.write_text(text)


if __name__ == "__main__":
    main()
