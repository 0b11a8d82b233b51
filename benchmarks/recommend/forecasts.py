"""Whether measures taken before training forecast what training reaches.

    python -m benchmarks.recommend.forecasts [--write]

Writes docs/forecasts.md: rank correlation and mean absolute error between what was measured of each cell
(benchmarks/results/evidence.csv) and the accuracies of its runs (runs.csv), with intervals by bootstrap over
tasks.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.recommend.clusters import cluster_interval
from benchmarks.recommend.page import paragraph
from benchmarks.recommend.plan import Cell
from benchmarks.recommend.remedies import TABLE as REMEDIES
from benchmarks.recommend.samples import Case, Sample, cases, measured, read
from bitfit_probe.records.recommendation import METHODS

PAGE = Path(__file__).parents[2] / "docs" / "forecasts.md"
Floats = npt.NDArray[np.float64]
#: Measures that are compared, and how they are called; ``{}`` stands for the method.
MEASURES = {
    "reach_{}": "reach of the method",
    "linear_probe": "linear probe",
    "nearest_neighbours": "nearest neighbours",
    "log_me": "LogME",
    "h_score": "H-score",
    "proxy_a_distance": "proxy A-distance",
    "frechet": "Fréchet distance",
    "majority": "most frequent class",
}
#: What reach calls a method.
_REACH = {"bitfit": "bitfit", "lora": "lora-8", "full": "full"}


def spearman(one: Floats, two: Floats) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(one, two).statistic)


def fitted_error(one: Floats, two: Floats, tasks: Sequence[str]) -> Floats:
    """Absolute error, in points, of a line fitted to the other tasks."""
    names = np.array(tasks)
    out = np.empty(len(one))
    for task in set(tasks):
        left_out = names == task
        slope, intercept = np.polyfit(one[~left_out], two[~left_out], 1)
        out[left_out] = 100 * np.abs(two[left_out] - intercept - slope * one[left_out])
    return out


def levels(samples: Sequence[Sample], evidence: Mapping[Cell, Mapping[str, float]]) -> Iterator[str]:
    """Measures beside accuracies, one row a measure and method."""
    yield "| measure | method | cells | Spearman | 95 % | error, points | 95 % | unfitted |"
    yield "|---|---|---:|---:|---|---:|---|---:|"
    for pattern, title in MEASURES.items():
        for method in METHODS:
            name = pattern.format(_REACH[method])
            pairs = [
                (evidence[_cell(sample)][name], sample.scores[method], sample.task)
                for sample in samples
                if name in evidence[_cell(sample)]
            ]
            yield _row(title, method, pairs, on_scale=name.startswith(("reach", "linear", "nearest", "maj")))


def _row(title: str, method: str, pairs: Sequence[tuple[float, float, str]], *, on_scale: bool) -> str:
    one, two = (np.array([pair[i] for pair in pairs], float) for i in (0, 1))
    tasks = [pair[2] for pair in pairs]
    errors = fitted_error(one, two, tasks)
    rank_low, rank_high = cluster_interval(spearman, (one, two), tasks)
    low, high = cluster_interval(np.mean, (errors,), tasks)
    unfitted = f"{100 * np.abs(two - one).mean():.1f}" if on_scale else "–"
    return (
        f"| {title} | {method} | {len(pairs)} | {spearman(one, two):.2f} | {rank_low:.2f} to {rank_high:.2f} "
        f"| {errors.mean():.1f} | {low:.1f} to {high:.1f} | {unfitted} |"
    )


def against_probe(samples: Sequence[Sample], evidence: Mapping[Cell, Mapping[str, float]]) -> Iterator[str]:
    """Reach and the linear probe on the same cells."""
    yield "| method | Spearman, reach less probe | 95 % | error, reach less probe | 95 % |"
    yield "|---|---:|---|---:|---|"
    tasks = [sample.task for sample in samples]
    probe = np.array([evidence[_cell(sample)]["linear_probe"] for sample in samples])
    for method in METHODS:
        seen = np.array([sample.scores[method] for sample in samples])
        reach = np.array([evidence[_cell(sample)][f"reach_{_REACH[method]}"] for sample in samples])
        low, high = cluster_interval(_rank_gain, (reach, probe, seen), tasks)
        saved = fitted_error(reach, seen, tasks) - fitted_error(probe, seen, tasks)
        less, more = cluster_interval(np.mean, (saved,), tasks)
        yield (
            f"| {method} | {_rank_gain(reach, probe, seen):+.2f} | {low:+.2f} to {high:+.2f} "
            f"| {saved.mean():+.1f} | {less:+.1f} to {more:+.1f} |"
        )


def _rank_gain(one: Floats, other: Floats, seen: Floats) -> float:
    return spearman(one, seen) - spearman(other, seen)


def gains(samples: Sequence[Sample], evidence: Mapping[Cell, Mapping[str, float]]) -> Iterator[str]:
    """Differences between methods, foreseen and seen."""
    yield "| gain | foreseen by | cells | Spearman | 95 % |"
    yield "|---|---|---:|---:|---|"
    for better, worse in (("lora", "bitfit"), ("full", "bitfit"), ("full", "lora")):
        seen = np.array([sample.scores[better] - sample.scores[worse] for sample in samples])
        tasks = [sample.task for sample in samples]
        found = [evidence[_cell(sample)] for sample in samples]
        foreseen = {
            "reach, accuracy": [f[f"reach_{_REACH[better]}"] - f[f"reach_{_REACH[worse]}"] for f in found],
            "reach, squared error": [
                f[f"error_{_REACH[worse]}"] - f[f"error_{_REACH[better]}"] for f in found
            ],
            "linear probe": [-f["linear_probe"] for f in found],
            "examples": [np.log2(sample.size) for sample in samples],
        }
        for title, values in foreseen.items():
            one = np.array(values)
            low, high = cluster_interval(spearman, (one, seen), tasks)
            yield (
                f"| {better} − {worse} | {title} | {len(seen)} | {spearman(one, seen):.2f} "
                f"| {low:.2f} to {high:.2f} |"
            )


def remedies(found: Sequence[Case]) -> Iterator[str]:
    """Gains on MiniLM's cells of 256 examples, foreseen by reach in other ways."""
    seen = {case.task: case for case in found if (case.model, case.size) == ("minilm", 256)}
    table: dict[str, dict[tuple[str, str], tuple[float, float]]] = {}
    for row in read(REMEDIES):
        if row["task"] in seen:
            key = row["task"], row["method"]
            table.setdefault(row["remedy"], {})[key] = float(row["score"]), float(row["error"])
    titles = ("remedy", "tasks", "level, BitFit", "LoRA − BitFit", "by error", "full − BitFit", "by error")
    yield f"| {' | '.join(titles)} |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for remedy, values in table.items():
        tasks = sorted({task for task, _ in values})
        levels = [seen[task].score("bitfit") for task in tasks]
        cells = [_rank([values[task, "bitfit"][0] for task in tasks], levels)]
        for better in ("lora", "full"):
            gain = [seen[task].score(better) - seen[task].score("bitfit") for task in tasks]
            pairs = [(values[task, _REACH[better]], values[task, "bitfit"]) for task in tasks]
            cells.append(_rank([ours[0] - theirs[0] for ours, theirs in pairs], gain))
            cells.append(_rank([theirs[1] - ours[1] for ours, theirs in pairs], gain))
        yield f"| {remedy} | {len(tasks)} | {' | '.join(cells)} |"


def _rank(one: Sequence[float], two: Sequence[float]) -> str:
    return f"{spearman(np.array(one), np.array(two)):.2f}"


def _cell(sample: Sample) -> Cell:
    return Cell(sample.model, sample.task, sample.size, sample.seed)


def page() -> str:
    """The whole page."""
    found = cases()
    samples = [sample for case in found for sample in case.samples]
    evidence = measured()
    parts = [
        "# Do forecasts meet real runs?",
        "",
        *paragraph("Made by `python -m benchmarks.recommend.forecasts --write`."),
        *paragraph(f"""
            {len(samples)} cells (a model on one training set of a task), measured on their training
            examples and tested on all others at each method's best learning rate. Error: mean absolute
            error of a line in the measure, fitted to the other tasks; unfitted: the measure taken for
            the accuracy as it is. Intervals: bootstrap over tasks."""),
        "## Levels",
        "",
        *levels(samples, evidence),
        "",
        *against_probe(samples, evidence),
        "",
        "## Gains",
        "",
        *paragraph("How much more one method scores than another, foreseen and seen."),
        *gains(samples, evidence),
        "",
        *paragraph("""
            What was tried to make reach foresee gains, on MiniLM with 256 examples
            (`python -m benchmarks.recommend.remedies`): rank correlations over tasks, so few that anything
            below about ±0.7 may be chance. “By error”: gains foreseen by squared error."""),
        *remedies(found),
    ]
    return "\n".join(parts) + "\n"


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--write", action="store_true")
    text = page()
    if parser.parse_args().write:
        PAGE.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
