"""A tiny base, checkpoints of it, and files that are none, each broken in a way of its own."""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from support.builders import biases, config_of, move, state, write

import bitfit_probe as bp

KIND = "bert"


def write_base(folder: Path) -> Path:
    return write(folder / "base", state(KIND), config_of(KIND))


def write_bitfit(path: Path, by: float = 0.05) -> Path:
    """A BitFit run of the base: its biases moved by noise of that size, always in one direction."""
    base = state(KIND)
    return write(path, move(base, *biases(base), by=by), config_of(KIND))


def write_broken(folder: Path) -> dict[str, Path]:
    """Ten checkpoints that can't be judged, by the code of the error that each has."""
    good = write_bitfit(folder / "whole") / "model.safetensors"
    whole = good.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    cut = {
        "BE102": b"",
        "BE103": bytes(range(256)) * 4,
        "BE104": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "BE105": b"<!doctype html><title>Sign in</title>",
        "BE106": whole[: len(whole) // 2],
        "BE107": whole[:8] + b"{" * length + whole[8 + length :],
        "BE111": (2).to_bytes(8, "little") + b"{}",
        "BE113": b"\x89HDF\r\n\x1a\n" + bytes(50),
    }
    paths = {}
    for code, content in cut.items():
        paths[code] = folder / f"broken-{code}.bin"
        paths[code].write_bytes(content)
    paths["BE101"] = folder / "absent.safetensors"
    paths["BE110"] = folder / "model.safetensors.index.json"
    paths["BE110"].write_text(json.dumps({"weight_map": {"a": "model-1-of-1.safetensors"}}))
    return paths


class Recording(Executor):
    """Threads, and what was handed to them."""

    def __init__(self) -> None:
        self.pool, self.judged = ThreadPoolExecutor(1), list[str]()

    def submit(self, fn: Any, /, *args: Any, **options: Any) -> Future[Any]:
        if getattr(fn, "__name__", "") == "judge":
            self.judged.append(args[1])
        return self.pool.submit(fn, *args, **options)


def run(
    base: Path, tuned: Iterable[Path], out: Path, executor: Executor | None = None, **options: Any
) -> bp.Fleet:
    """A fleet that is judged in this process, unless another executor is given."""
    with ThreadPoolExecutor(1) as own:
        asked = bp.FleetOptions(**options)
        return bp.run_fleet(base, *tuned, out=out, options=asked, executor=executor or own)


def judged(fleet: bp.Fleet) -> list[dict[str, Any]]:
    """Its rows without what depends on the clock."""
    return [{name: value for name, value in vars(row).items() if name != "seconds"} for row in fleet.rows]
