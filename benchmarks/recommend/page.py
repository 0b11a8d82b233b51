"""docs/validation.md, from figures."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.recommend.heldout import Swept, lost_by_choice, nothing_learned
from benchmarks.recommend.plan import BUDGETS, PATIENT
from benchmarks.recommend.samples import RUNS, Case, Lengthened, at_budget, lengthened, read
from bitfit_probe.recommendation.calibration import published
from bitfit_probe.records.recommendation import METHODS

if TYPE_CHECKING:
    from benchmarks.recommend.validate import Judged
    from bitfit_probe.recommendation.calibration import Calibration

__all__ = ["paragraph", "validation"]


def validation(
    found: Sequence[Case], cells: Sequence[Swept], judged: Sequence[Judged], by: Calibration
) -> str:
    """The whole page."""
    parts = [
        *_head(by),
        *_runs(found),
        *_nothing(),
        "## What held-out examples can tell",
        "",
        *_worth(judged),
        "## By loss or by accuracy",
        "",
        *_choices(cells),
        "## The price of parameters",
        "",
        *_prices(judged),
        "## The bar",
        "",
        *_bar(judged),
        "## Were the runs long enough?",
        "",
        *_longer(lengthened()),
        "## Published comparisons",
        "",
        *_published(),
        "## Each case",
        "",
        *_cases(found),
    ]
    return "\n".join(parts) + "\n"


def paragraph(text: str) -> Iterator[str]:
    """The text in lines, and an empty one."""
    yield from textwrap.wrap(" ".join(text.split()), 110, break_long_words=False, break_on_hyphens=False)
    yield ""


def _head(by: Calibration) -> Iterator[str]:
    one, two = by.within
    bitfit, full = by.prior["bitfit"], by.prior["full"]
    yield "# Does the recommendation hold?"
    yield ""
    yield from paragraph("Made by `make validate`, from benchmarks/results/runs.csv and learned.csv.")
    yield from paragraph("""
        **calibrated: no.** Everything below is of tasks that have been looked at. Five tasks were named
        before any run of benchmarks/experiment and are kept back; until they have been run and opened, no
        answer calls itself calibrated.""")
    yield from paragraph(f"""
        In {by.cells} cells of {by.tasks} tasks, at learning rates that 256 held-out examples chose, BitFit
        scores {bitfit.mean:+.2f} points against LoRA (standard deviation over tasks {bitfit.sd:.1f}): it
        loses no more than a point in {one:.0%} of the drawings, no more than two in {two:.0%}. Full
        fine-tuning scores {full.mean:+.2f} (± {full.sd:.1f}). Nothing that was measured before training
        foresaw these differences (docs/forecasts.md), so without a trial the price of parameters decides.""")


def _runs(found: Sequence[Case]) -> Iterator[str]:
    rows = read(RUNS)
    tasks = sorted({case.task for case in found})
    hours = sum(float(row["seconds"]) for row in rows) / 3600
    budgets = "; ".join(
        f"{size} examples {budget.epochs} passes in batches of {budget.batch}"
        for size, budget in BUDGETS.items()
    )
    yield from paragraph(f"""
        {len(rows)} runs ({hours:.1f} hours, one core each), {len(found)} cases of {len(tasks)} tasks
        ({", ".join(tasks)}). Budgets: {budgets}; {_patient()}. All other examples test, the same for
        every method. With the first seed learning rates are swept, a factor of three apart, beyond the
        better of two; {_edges(rows)} The second seed is run at what was best with the first. In the table of
        cases each method counts at its best rate by those test examples, so that scores are a little too
        good for all alike. “Tied” is a difference below 1.96 standard errors, paired by test example. The
        head alone reads the model's own pooled output, without dropout. `python -m benchmarks.recommend
        --tasks DIR` goes on with the runs.""")


def _patient() -> str:
    return ", ".join(f"{task} {times} times as many" for task, times in PATIENT.items())


def _edges(rows: Sequence[dict[str, str]]) -> str:
    """How often the best rate lies inside its sweep, where at least three were tried."""
    found: dict[tuple[str, ...], dict[float, float]] = {}
    for row in rows:
        if row["method"] != "head" and at_budget(row):
            key = (row["model"], row["task"], row["size"], row["seed"], row["method"])
            found.setdefault(key, {})[float(row["rate"])] = float(row["accuracy"])
    swept = [scores for scores in found.values() if len(scores) >= 3]
    edges = [
        sorted(scores.values())
        for scores in swept
        if max(scores, key=lambda rate: scores[rate]) in (min(scores), max(scores))
    ]
    flat = sum(100 * (best - second) <= 1 for *_, second, best in edges)
    return (
        f"of {len(swept)} sweeps of at least three rates the best lay inside in {len(swept) - len(edges)}, "
        f"and of the {len(edges)} with the best at the edge {flat} have another rate within a point of it."
    )


def _longer(found: Sequence[Lengthened]) -> Iterator[str]:
    """What longer runs brought over shorter ones, by model, size and method."""
    yield from paragraph("""
        The first seed's runs of two models were made with fewer steps as well: points of accuracy that the
        longer ones gained, mean over tasks, each at the better of the same rates; then by how much LoRA was
        above BitFit, and full fine-tuning above LoRA, with the few steps and with the many.""")
    yield "| model | examples | steps | tasks | BitFit | LoRA | full | LoRA − BitFit | full − LoRA |"
    yield "|---|---:|---|---:|---:|---:|---:|---|---|"
    groups: dict[tuple[str, int], list[Lengthened]] = defaultdict(list)
    for item in found:
        groups[item.model, item.size].append(item)
    for (model, size), items in groups.items():
        gains, gaps = _gained(items), (_between(items, "lora", "bitfit"), _between(items, "full", "lora"))
        usual = min(items, key=lambda item: item.steps[0])
        yield (
            f"| {model} | {size} | {usual.steps[0]} → {usual.steps[1]} | {len(items)} "
            f"| {' | '.join(f'{gain:+.1f}' for gain in gains)} "
            f"| {' | '.join(f'{short:+.1f} → {long:+.1f}' for short, long in gaps)} |"
        )
    yield ""


def _gained(items: Sequence[Lengthened]) -> list[float]:
    return [
        100 * float(np.mean([item.scores[method][1] - item.scores[method][0] for item in items]))
        for method in METHODS
    ]


def _between(items: Sequence[Lengthened], method: str, other: str) -> tuple[float, float]:
    """Mean points of one method above another, with the few steps and with the many."""
    short, long = (
        100 * float(np.mean([item.scores[method][at] - item.scores[other][at] for item in items]))
        for at in (0, 1)
    )
    return short, long


def _nothing() -> Iterator[str]:
    where = ", ".join(f"{model} {task} {size}" for model, task, size in sorted(nothing_learned()))
    yield from paragraph(f"""
        **Nothing was learned** in {where}: no run's mean recall of the classes lies 6 points above guessing
        (a convention). Which method is best there is chance, so these cases are in no figure of regret. Runs
        that give every example the same class can't win anywhere.""")


def _worth(judged: Sequence[Judged]) -> Iterator[str]:
    yield from paragraph("""
        Of each cell's test examples h are drawn (100 times); they choose each method's rate and compare the
        methods, and all others judge. Regret: points below the best method, every task counting the same,
        with the rate chosen so, and at the default rate. “Looks best”: how often the method that looks best
        is within a point of the best. A seen gap between BitFit and LoRA of s points means a true one of a +
        slope · s, ± sd; lines are fitted to other tasks than they are judged on.""")
    yield (
        "| h | cells | regret BitFit | LoRA | full | default rate BitFit | LoRA | full | looks best | slope "
        "| sd | in 80 % intervals |"
    )
    yield "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    for item in judged:
        scores = (f"{kind[method]:.2f}" for kind in (item.regret, item.default) for method in METHODS)
        yield (
            f"| {item.count} | {item.cells} | {' | '.join(scores)} | {item.looks_best:.0%} "
            f"| {item.slope:.2f} | {item.sd:.1f} | {item.coverage:.0%} |"
        )
    yield ""


def _choices(cells: Sequence[Swept]) -> Iterator[str]:
    yield from paragraph("""
        Points of accuracy below the best rate of the sweep: at the rate of the lowest loss over all test
        examples, and at the rate of the highest accuracy on 64 of them. The loss is lowest long before the
        accuracy is highest, so `tune --search` and trials choose by accuracy.""")
    yield "| method | lowest loss, all examples | highest accuracy, 64 examples |"
    yield "|---|---:|---:|"
    for method in METHODS:
        by_loss, by_accuracy = lost_by_choice(cells, method, 64)
        yield f"| {method} | {by_loss:.1f} | {by_accuracy:.1f} |"
    yield ""


def _prices(judged: Sequence[Judged]) -> Iterator[str]:
    yield from paragraph("""
        A trial among BitFit and LoRA, its gap shrunk, at a price: points that a tenfold saving of stored
        parameters is worth. Points above always-LoRA (95 % interval over tasks), and stored parameters beside
        LoRA's (geometric mean).""")
    prices = list(judged[0].priced)
    yield f"| h | {' | '.join(f'price {price:g}' for price in prices)} |"
    yield "|---:|" + "---|" * len(prices)
    for item in judged:
        cells = (
            f"{gain:+.2f} ({low:+.2f} to {high:+.2f}), {share:.2g}×"
            for gain, low, high, share in item.priced.values()
        )
        yield f"| {item.count} | {' | '.join(cells)} |"
    yield ""


def _bar(judged: Sequence[Judged]) -> Iterator[str]:
    yield from paragraph("""
        Set before the runs of the tasks kept back; here on tasks that were seen, so that it passes nothing.
        A: at price 0.5 no more than half a point below always-LoRA (lower end of the interval) at 0.35× its
        parameters and less. C: 72 % to 88 % in the 80 % intervals; from h = 256 on the Brier score of
        “BitFit loses at most a point” 10 % below that of the base rate; “at most X points (90 %)” exceeded
        in 15 % and less. D: “within a point”, said at 80 % and more, right in 80 %, of at least 20
        statements. B, a blind mixture with the same shares of methods, needs final runs with new seeds.""")
    yield "| h | A: points, lower end | size | C: inside | Brier | base rate | exceeded | D: said | right |"
    yield "|---:|---|---:|---:|---:|---:|---:|---:|---:|"
    for item in judged:
        gain, low, _, share = item.priced[0.5]
        right = "–" if item.right is None else f"{item.right:.0%}"
        yield (
            f"| {item.count} | {gain:+.2f}, {low:+.2f} | {share:.2g}× | {item.coverage:.0%} "
            f"| {item.brier:.3f} | {item.base:.3f} | {item.broken:.0%} | {item.said} | {right} |"
        )
    yield ""


def _published() -> Iterator[str]:
    found = published()
    yield from paragraph(f"""
        78 comparisons of BitFit, LoRA and full fine-tuning (bitfit_probe/recommendation/published.csv),
        every paper counting the same: BitFit {found["bitfit"].mean:+.2f} points against LoRA (standard
        deviation {found["bitfit"].sd:.1f}), full fine-tuning {found["full"].mean:+.2f} (±
        {found["full"].sd:.1f}). They stand in where a model or task is unlike those that were run: decoders,
        quantities.""")


def _cases(found: Sequence[Case]) -> Iterator[str]:
    yield "Accuracy at the best rate, mean over seeds; bold: best, or tied with it."
    yield ""
    yield "| model | task | examples | seeds | head | BitFit | LoRA | full |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|"
    for case in sorted(found, key=lambda case: (case.model, case.task, case.size)):
        head = sum(sample.scores["head"] for sample in case.samples) / len(case.samples)
        cells = [
            f"**{case.score(method):.3f}**" if case.tied(method) else f"{case.score(method):.3f}"
            for method in METHODS
        ]
        yield (
            f"| {case.model} | {case.task} | {case.size} | {len(case.samples)} | {head:.3f} "
            f"| {' | '.join(cells)} |"
        )
