"""Two hundred BitFit checkpoints of a BERT-base, ten of them broken: time, memory, a kill, what is repeated.

    python -m benchmarks.fleet [--count N] [--jobs N] [--write FILE]

Each checkpoint is a folder of two shards: one with all that rests, which is one file under many names, and
one with its own biases, so that the fleet takes little disk and lies in the page cache. The limit is `memcmp`
over as many bytes of two equal files, mapped, in as many threads as there are workers, in the same run.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import mmap
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from support.fleets import write_broken

import bitfit_probe as bp
from benchmarks.remote import config_of, put_between
from benchmarks.speed import Bert, shapes

BERT = Bert(layers=12, hidden=768)
MARKS = "<!-- measured -->", "<!-- end -->"
RESTS, OWN = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def write_fleet(folder: Path, count: int) -> tuple[Path, list[Path]]:
    """A base, and `count` runs of which all but the frozen shard is their own."""
    random = np.random.default_rng(0)
    base = {name: 0.02 * random.standard_normal(shape, np.float32) for name, shape in shapes(BERT).items()}
    biases = [name for name in base if name.endswith(".bias")]
    shared = 0.01 * np.concatenate([random.standard_normal(base[name].size, np.float32) for name in biases])
    (folder / "base").mkdir()
    save_file(base, folder / "base" / "model.safetensors")
    save_file({name: value for name, value in base.items() if name not in biases}, folder / RESTS)
    index = json.dumps({"weight_map": {name: OWN if name in biases else RESTS for name in base}})
    runs = []
    for number in range(count):
        home = folder / f"run-{number:03}"
        home.mkdir()
        os.link(folder / RESTS, home / RESTS)
        moved = shared + 0.005 * random.standard_normal(shared.size, np.float32)
        parts = np.split(moved, np.cumsum([base[name].size for name in biases])[:-1])
        save_file({name: base[name] + part for name, part in zip(biases, parts, strict=True)}, home / OWN)
        (home / "model.safetensors.index.json").write_text(index)
        runs.append(home)
    for home in (folder / "base", *runs):
        (home / "config.json").write_text(json.dumps(config_of(BERT)))
    return folder / "base", runs


def limit(one: Path, other: Path, times: int, jobs: int) -> float:
    """Seconds in which `memcmp` goes so often over two equal files, in `jobs` threads."""
    libc = ctypes.CDLL(None)
    libc.memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    size = one.stat().st_size
    views = []
    for path in (one, other):
        with path.open("rb") as stream:
            views.append(mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_COPY))
    places = [ctypes.addressof(ctypes.c_char.from_buffer(view)) for view in views]

    def compare(_: int) -> None:
        assert libc.memcmp(*places, size) == 0

    compare(0)
    start = time.perf_counter()
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(compare, range(times)))
    return time.perf_counter() - start


class Run:
    """One `fleet run` as a process, watched."""

    def __init__(self, arguments: Sequence[object], out: Path) -> None:
        self.out, self.memory = out, list[tuple[int, int]]()
        self._start = time.perf_counter()
        command = [sys.executable, "-m", "bitfit_probe", "fleet", "run", *map(str, arguments), "-o", str(out)]
        self.process = subprocess.Popen([*command, "--quiet"], stdout=subprocess.DEVNULL)

    def watch(self, until: int) -> float:
        """Wait for the end, or kill it once so many rows are kept; the seconds until then."""
        while self.process.poll() is None:
            done = rows_in(self.out)
            self.memory.append((done, anonymous_kib(self.process.pid)))
            if done >= until:
                self.process.send_signal(signal.SIGKILL)
            time.sleep(0.1)
        return time.perf_counter() - self._start

    def peak(self, first: int, last: int) -> float:
        """Most MiB of all its processes while so many rows were there."""
        return max((kib for done, kib in self.memory if first <= done < last), default=0) / 1024


def rows_in(out: Path) -> int:
    try:
        return (out / "manifest.jsonl").read_bytes().count(b'{"judged_with"')
    except OSError:
        return 0


def anonymous_kib(pid: int) -> int:
    """Anonymous memory of a process and its children; what a fork shares is counted for each."""
    total = 0
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in (str(pid), *children):
            lines = Path(f"/proc/{each}/status").read_text().splitlines()
            total += next((int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)
    except OSError:
        pass
    return total


def measure(folder: Path, count: int, jobs: int) -> list[str]:
    """The page's lines."""
    broken = write_broken(folder)
    base, runs = write_fleet(folder, count - len(broken))
    arguments = [base, *runs, *broken.values(), "--jobs", jobs]
    size = sum((base / "model.safetensors").stat().st_size for _ in runs)
    first = Run(arguments, folder / "out")
    seconds = first.watch(count // 2)
    kept = rows_in(folder / "out")
    second = Run([*arguments, "--resume"], folder / "out")
    seconds += second.watch(10 * count)
    shutil.copyfile(folder / RESTS, folder / "copy")
    lowest = limit(folder / RESTS, folder / "copy", len(runs), jobs)
    fleet = bp.read_fleet(folder / "out")
    lines = (folder / "out" / "manifest.jsonl").read_text().splitlines()
    times = Counter(json.loads(line)["row"]["tuned"] for line in lines if line.startswith('{"judged_with"'))
    codes = sorted(row.error.code for row in fleet.failed if row.error)
    assert codes == sorted(broken)
    quarter = math.ceil(count / 4)
    return [
        "| | |",
        "|---|---:|",
        f"| checkpoints, of which broken | {len(fleet.rows)}, {len(codes)} |",
        f"| judged, and their verdicts | {dict(Counter(row.verdict for row in fleet.rows if row.verdict))} |",
        f"| codes of the broken ones | {', '.join(codes)} |",
        f"| bytes on both sides | {2 * size:,} |",
        f"| rows when it was killed | {kept} |",
        f"| judged more than once in all | {sum(n > 1 for n in times.values())} |",
        f"| exit statuses of the two runs | {first.process.returncode}, {second.process.returncode} |",
        f"| seconds of both runs together, {jobs} workers | {seconds:.1f} |",
        f"| seconds of the compare limit, {jobs} threads | {lowest:.1f} |",
        f"| ratio | {seconds / lowest:.1f} |",
        f"| MiB of all processes: second quarter, last quarter | {first.peak(quarter, 2 * quarter):.0f}, "
        f"{second.peak(3 * quarter, count + 1):.0f} |",
        f"| clusters, by checkpoints | {', '.join(str(len(item.members)) for item in fleet.clusters)} |",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--write", type=Path, help="also put the table into this page, between its marks")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        lines = measure(Path(scratch), options.count, options.jobs)
    print("\n".join(lines))
    if options.write:
        put_between(options.write, MARKS, lines)


if __name__ == "__main__":
    main()
