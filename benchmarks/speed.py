"""How fast and how small the diff is, beside the naive script, on a pair as large as BERT-large.

    python -m benchmarks.speed [--write FILE] [--rounds N]

Every figure is a whole process, imports included; both sides run in turns on a warm page cache, and the
minimum counts. Memory is the peak of anonymous memory (RssAnon): pages of the files themselves belong to
the system's cache and are not counted for either side.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

CACHE = Path(__file__).parent / ".cache" / "speed"


@dataclass(frozen=True)
class Bert:
    """The sizes of a BERT encoder; those of BERT-large (Devlin et al. 2019), 335M parameters, by default."""

    layers: int = 24
    hidden: int = 1024
    vocabulary: int = 30_522


def shapes(bert: Bert = Bert()) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a bare encoder with its pooler."""
    hidden, inner = bert.hidden, 4 * bert.hidden
    out: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (bert.vocabulary, hidden),
        "embeddings.position_embeddings.weight": (512, hidden),
        "embeddings.token_type_embeddings.weight": (2, hidden),
        "pooler.dense.weight": (hidden, hidden),
        "pooler.dense.bias": (hidden,),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(bert.layers):
        stem = f"encoder.layer.{layer}"
        norms += [f"{stem}.attention.output.LayerNorm", f"{stem}.output.LayerNorm"]
        for module, rows, columns in (
            ("attention.self.query", hidden, hidden),
            ("attention.self.key", hidden, hidden),
            ("attention.self.value", hidden, hidden),
            ("attention.output.dense", hidden, hidden),
            ("intermediate.dense", inner, hidden),
            ("output.dense", hidden, inner),
        ):
            out[f"{stem}.{module}.weight"] = (rows, columns)
            out[f"{stem}.{module}.bias"] = (rows,)
    for norm in norms:
        out[f"{norm}.weight"] = out[f"{norm}.bias"] = (hidden,)
    return out


def make_files() -> None:
    """Write the base, a BitFit and a full fine-tune of it, as safetensors and as .pt."""
    CACHE.mkdir(parents=True, exist_ok=True)
    if (CACHE / "done").exists():
        return
    import torch

    rng = np.random.default_rng(0)
    base = {name: 0.02 * rng.standard_normal(shape, np.float32) for name, shape in shapes().items()}
    noise = {name: 1e-3 * rng.standard_normal(value.shape, np.float32) for name, value in base.items()}
    bitfit = {name: value + noise[name] if "bias" in name else value for name, value in base.items()}
    full = {name: value + noise[name] for name, value in base.items()}
    for label, state in (("base", base), ("bitfit", bitfit), ("full", full)):
        save_file(state, CACHE / f"{label}.safetensors")
        if label != "full":
            torch.save(
                {name: torch.from_numpy(value) for name, value in state.items()}, CACHE / f"{label}.pt"
            )
        half = {name: torch.from_numpy(value).bfloat16() for name, value in state.items()}
        from safetensors.torch import save_file as save_torch

        save_torch(half, CACHE / f"{label}-bf16.safetensors")
    (CACHE / "done").touch()


@dataclass
class Run:
    """One command, and what its runs took."""

    label: str
    command: list[str]
    seconds: list[float] = field(default_factory=list)
    anonymous_kib: int = 0

    @property
    def best(self) -> float:
        return min(self.seconds)

    def once(self) -> None:
        """Run it with its files in the page cache, and note its time; memory is polled beside it."""
        for file in filter(os.path.isfile, self.command[1:]):
            with Path(file).open("rb", buffering=0) as stream:
                while stream.read(1 << 24):
                    pass
        start = time.perf_counter()
        process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)
        watcher = threading.Thread(target=self._watch, args=(process,))
        watcher.start()
        if process.wait() != 0:
            sys.exit(f"{self.label} failed")
        self.seconds.append(time.perf_counter() - start)
        watcher.join()

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        home = Path(f"/proc/{process.pid}")
        while process.poll() is None:
            try:
                children = (home / "task" / home.name / "children").read_text().split()
                total = sum(_anonymous_kib(pid) for pid in (home.name, *children))
            except OSError:  # one of them has just ended
                continue
            self.anonymous_kib = max(self.anonymous_kib, total)
            time.sleep(0.005)


def _anonymous_kib(pid: str) -> int:
    """Anonymous memory of a process; what it shares with its parent since a fork is counted twice."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)


def _diff(label: str, base: str, tuned: str, *options: str) -> Run:
    command = [sys.executable, "-m", "bitfit_probe", "diff", "--format", "json", *options]
    return Run(label, [*command, str(CACHE / base), str(CACHE / tuned)])


def _naive(label: str, base: str, tuned: str) -> Run:
    return Run(label, [sys.executable, "-m", "benchmarks.naive", str(CACHE / base), str(CACHE / tuned)])


def cases() -> list[tuple[str, Run, Run | None]]:
    """Title, our run, and the naive run that it is set against."""
    st, pt, half = "{}.safetensors", "{}.pt", "{}-bf16.safetensors"
    bitfit = _naive("naive", st.format("base"), st.format("bitfit"))
    return [
        ("BitFit, safetensors", _diff("ours", st.format("base"), st.format("bitfit")), bitfit),
        (
            "BitFit, torch zip",
            _diff("ours", pt.format("base"), pt.format("bitfit")),
            _naive("naive", pt.format("base"), pt.format("bitfit")),
        ),
        (
            "BitFit, torch zip, --trust-checksums",
            _diff("ours", pt.format("base"), pt.format("bitfit"), "--trust-checksums"),
            None,
        ),
        (
            "BitFit, --biases-only",
            _diff("ours", st.format("base"), st.format("bitfit"), "--biases-only"),
            None,
        ),
        (
            "every tensor changed, safetensors",
            _diff("ours", st.format("base"), st.format("full")),
            _naive("naive", st.format("base"), st.format("full")),
        ),
        (
            "every tensor changed, bfloat16",
            _diff("ours", half.format("base"), half.format("full")),
            _naive("naive", half.format("base"), half.format("full")),
        ),
        (
            "BitFit in bfloat16 of a float32 base",
            _diff("ours", st.format("base"), half.format("bitfit")),
            _naive("naive", st.format("base"), half.format("bitfit")),
        ),
        ("`--help`", Run("ours", [sys.executable, "-m", "bitfit_probe", "--help"]), None),
    ]


def table(rows: list[tuple[str, Run, Run | None]], rounds: int) -> str:
    """The results in Markdown."""
    import torch

    import bitfit_probe

    lines = [
        "# How fast, how small",
        "",
        "Made by `make bench`. Whole processes on a warm page cache, run in turns, the minimum of "
        f"{rounds}; memory is the peak of anonymous memory. Times belong to the machine, ratios travel.",
        "",
        f"bitfit-probe {bitfit_probe.__version__}, Python {platform.python_version()}, "
        f"numpy {np.__version__}, torch {torch.__version__}, {os.cpu_count()} cores. The pair has "
        f"BERT-large's {len(shapes())} tensors and {sum(map(np.prod, shapes().values())):,} parameters "
        "(random values; the BitFit side moved in every bias). The naive side is "
        "[benchmarks/naive.py](../benchmarks/naive.py): load both with torch, loop over the same figures, "
        "BLAS threads left free.",
        "",
        "| what | bitfit-probe | naive script | ratio | memory, bitfit-probe | memory, naive |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for title, ours, naive in rows:
        cells = [title, f"{ours.best:.2f} s"]
        cells += [f"{naive.best:.2f} s", f"{naive.best / ours.best:.1f}×"] if naive else ["", ""]
        cells += [f"{ours.anonymous_kib / 1024:.0f} MiB"]
        cells += [f"{naive.anonymous_kib / 1024:,.0f} MiB"] if naive else [""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, help="also write the table to this file")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    make_files()
    rows = cases()
    for title, ours, naive in rows:
        for number in range(options.rounds):
            for run in filter(None, (ours, naive)):
                run.once()
                done = {"round": number + 1, "case": title, run.label: round(run.seconds[-1], 3)}
                print(json.dumps(done), file=sys.stderr)
    text = table(rows, options.rounds)
    print(text)
    if options.write:
        options.write.write_text(text)


if __name__ == "__main__":
    main()
