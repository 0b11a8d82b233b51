"""Compare `tune` with an independent training loop and with a frozen probe.

    python -m benchmarks.tuned --tasks DIR [--seeds 0 1 2] [--write docs/tuning.md]

DIR holds trec.csv and mr.csv with the columns text and label. The base is MiniLM
(`python -m benchmarks.materials` fetches it). 1,000 examples train, up to 1,500 others test. Each run adds a
row to benchmarks/results/tuned.csv; runs that have their row are not repeated.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import shutil
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from benchmarks.materials import DEFAULT, MINILM
from bitfit_probe.data import TaskData, read_examples
from bitfit_probe.tuning.options import LEARNING_RATES

RESULTS = Path(__file__).parent / "results" / "tuned.csv"
REFERENCE = Path(__file__).parents[1] / "tests" / "tuning" / "reference.py"
FIELDS = ("task", "who", "method", "rate", "seed", "accuracy", "seconds")
TASKS = ("trec", "mr")
METHODS = ("head", "bitfit", "lora", "full")
TRAINED, TESTED = 1_000, 1_500
EPOCHS, BATCH, MAX_LENGTH, RANK = 5, 32, 64, 8
MARK = "<!-- table: benchmarks.tuned -->"


class Run(NamedTuple):
    """One row to be had."""

    task: str
    who: str
    method: str
    rate: float
    seed: int


def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", REFERENCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def with_tune(base: Path, train: TaskData, test: TaskData, run: Run) -> float:
    import bitfit_probe as bp
    from bitfit_probe.inference import load_model, load_tokenizer

    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "tuned"
        bp.tune(
            base,
            train,
            out=out,
            options=bp.TuneOptions(
                method=run.method,
                merge=run.method == "lora",
                learning_rate=run.rate,
                epochs=EPOCHS,
                batch_size=BATCH,
                max_length=MAX_LENGTH,
                lora_r=RANK,
                eval_split=0.0,
                seed=run.seed,
            ),
        )
        model, tokenizer = load_model(out).model, load_tokenizer(out)
        kept = RESULTS.parent.parent / ".cache" / "tune" / f"{run.task}-{run.method}"
        if run.seed == 0 and not kept.exists():
            shutil.copytree(out, kept)
    return reference().accuracy(model, tokenizer, list(test.texts), list(test.labels or ()), MAX_LENGTH)


def with_reference(base: Path, train: TaskData, test: TaskData, run: Run) -> float:
    loop = reference()
    model, tokenizer = loop.train(
        base,
        list(train.texts),
        list(train.labels or ()),
        method=run.method,
        rate=run.rate,
        epochs=EPOCHS,
        batch_size=BATCH,
        max_length=MAX_LENGTH,
        lora_r=RANK,
        seed=run.seed,
    )
    return loop.accuracy(model, tokenizer, list(test.texts), list(test.labels or ()), MAX_LENGTH)


def with_probe(base: Path, train: TaskData, test: TaskData, run: Run) -> float:
    """Logistic regression on the frozen model's mean-pooled states, its strength cross-validated."""
    import numpy as np
    import torch
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from bitfit_probe.inference import load_model, load_tokenizer

    model, tokenizer = load_model(base, purpose="features").model, load_tokenizer(base)

    def features(texts: tuple[str, ...]) -> Any:
        parts = []
        for start in range(0, len(texts), 64):
            tokens = tokenizer(
                list(texts[start : start + 64]),
                padding=True,
                truncation=True,
                max_length=MAX_LENGTH,
                return_tensors="pt",
            )
            with torch.no_grad():
                states = model(**tokens).last_hidden_state
            real = tokens["attention_mask"].unsqueeze(-1)
            parts.append(((states * real).sum(1) / real.sum(1)).numpy())
        return np.concatenate(parts)

    fitted = make_pipeline(StandardScaler(), LogisticRegressionCV(Cs=8, cv=5, max_iter=2_000))
    fitted.fit(features(train.texts), train.labels)
    return float(fitted.score(features(test.texts), test.labels))


HOW = {"tune": with_tune, "reference": with_reference, "probe": with_probe}


def read_rows() -> list[dict[str, str]]:
    if not RESULTS.exists():
        return []
    with RESULTS.open(newline="") as stream:
        return list(csv.DictReader(stream))


def planned(seeds: list[int]) -> list[Run]:
    runs = [Run(task, "probe", "head", 0.0, 0) for task in TASKS]
    for seed in seeds:
        for task in TASKS:
            for method in METHODS:
                whose = ("tune",) if method == "head" else ("tune", "reference")
                runs += [Run(task, who, method, LEARNING_RATES[method], seed) for who in whose]
    return runs


def key(row: dict[str, str]) -> Run:
    return Run(row["task"], row["who"], row["method"], float(row["rate"]), int(row["seed"]))


def work(tasks: Path, base: Path, runs: list[Run], most: int) -> None:
    done = {key(row) for row in read_rows()}
    left = [run for run in runs if run not in done][:most]
    RESULTS.parent.mkdir(exist_ok=True)
    for run in left:
        data = read_examples(tasks / f"{run.task}.csv")
        train, test = data.take(range(TRAINED)), data.take(range(TRAINED, min(len(data), TRAINED + TESTED)))
        start = time.monotonic()
        score = HOW[run.who](base, train, test, run)
        row = run._asdict() | {"accuracy": f"{score:.4f}", "seconds": f"{time.monotonic() - start:.0f}"}
        new = not RESULTS.exists()
        with RESULTS.open("a", newline="") as stream:
            writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(row)
        print(*row.values(), file=sys.stderr, flush=True)


def table() -> str:
    """Mean accuracy over the seeds, and how far `tune` is from the reference."""
    found: defaultdict[tuple[str, str, str], list[tuple[int, float]]] = defaultdict(list)
    for row in read_rows():
        run = key(row)
        if run.rate in (0.0, LEARNING_RATES[run.method]):
            found[run.task, run.who, run.method].append((run.seed, float(row["accuracy"])))
    lines = [
        "| task | method | rate | tune, by seed | tune | reference | difference | over the probe |",
        "|---|---|---:|---|---:|---:|---:|---:|",
    ]
    for task in TASKS:
        (probe,) = [score for _, score in found[task, "probe", "head"]] or [float("nan")]
        for method in METHODS:
            ours, theirs = found[task, "tune", method], found[task, "reference", method]
            if not ours:
                continue
            mean = statistics.mean(score for _, score in ours)
            each = " ".join(f"{score:.3f}" for _, score in sorted(ours))
            other = statistics.mean(score for _, score in theirs) if theirs else None
            against = "| | " if other is None else f"| {other:.3f} | {100 * (mean - other):+.1f} "
            lines.append(
                f"| {task} | {method} | {LEARNING_RATES[method]:g} | {each} | {mean:.3f} {against}"
                f"| {100 * (mean - probe):+.1f} |"
            )
        lines.append(f"| {task} | logistic regression on frozen features | | | {probe:.3f} | | | |")
    return "\n".join(lines)


def put_into(page: Path, text: str, mark: str = MARK) -> None:
    """Replace what stands between the page's two marks."""
    before, _, rest = page.read_text().partition(mark)
    _, _, after = rest.partition(mark)
    page.write_text(f"{before}{mark}\n{text}\n{mark}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=Path, help="directory with trec.csv and mr.csv")
    parser.add_argument("--base", type=Path, default=DEFAULT / MINILM)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--most", type=int, default=10**9, help="stop after so many runs")
    parser.add_argument("--write", type=Path, help="put the table into this page")
    asked = parser.parse_args()
    if asked.tasks:
        work(asked.tasks, asked.base, planned(asked.seeds), asked.most)
    if asked.write:
        put_into(asked.write, table())
    else:
        print(table())


if __name__ == "__main__":
    main()
