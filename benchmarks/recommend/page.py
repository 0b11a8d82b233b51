"""docs/validation.md, from figures."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.recommend.plan import BUDGETS, PATIENT
from benchmarks.recommend.samples import RUNS, Case, Lengthened, at_budget, lengthened, read
from bitfit_probe.records.recommendation import METHODS

if TYPE_CHECKING:
    from benchmarks.recommend.validate import Judged

__all__ = ["paragraph", "validation"]


def validation(
    found: Sequence[Case],
    ours: Mapping[str, Judged],
    theirs: Mapping[str, Judged],
    calibrated: bool,
    chosen: str,
) -> str:
    """The whole page."""
    parts = [
        *_head(found, ours, calibrated, chosen),
        *_runs(found),
        "## Were the runs long enough?",
        "",
        *_longer(lengthened()),
        "## Own runs, one task left out at a time",
        "",
        *_policies(ours),
        *_reliability(ours[f"rule: {chosen}"], chosen),
        "",
        "## Published comparisons, one paper left out at a time",
        "",
        *_published(theirs),
        "## Each case",
        "",
        *_cases(found),
    ]
    return "\n".join(parts) + "\n"


def paragraph(text: str) -> Iterator[str]:
    """The text in lines, and an empty one."""
    yield from textwrap.wrap(" ".join(text.split()), 110, break_long_words=False, break_on_hyphens=False)
    yield ""


def _head(found: Sequence[Case], ours: Mapping[str, Judged], calibrated: bool, chosen: str) -> Iterator[str]:
    figures, lora = ours[f"rule: {chosen}"], ours["always LoRA"]
    yield "# Does the recommendation hold?"
    yield ""
    yield from paragraph("Made by `make validate`, from benchmarks/results/runs.csv and evidence.csv.")
    yield from paragraph(f"""
        **calibrated: {"yes" if calibrated else "no"}.** The rule that ships (“{chosen}”) has, on tasks
        that it was not fitted to, a mean regret of {figures.mean:.2f} points (always LoRA:
        {lora.mean:.2f}; difference {_interval(figures.over_lora)}) at {figures.trained:.2f} times LoRA's
        parameters. Its answer is within a point of the best method, or tied with it, in
        {figures.within_or_tied:.0%} of the cases; {figures.coverage:.0%} of the differences from LoRA lie
        in their 80 % intervals.""")
    yield from paragraph("""
        It counts as calibrated when the mean regret is below always-LoRA's at no more parameters, at
        least 85 % of the answers are within a point or tied, and 70 % to 90 % of the differences lie in
        their intervals.""")


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
        better of two; {_edges(rows)} The second seed is run at what was best with the first. Each method
        counts at its best rate by those test examples, so that scores are a little too good for all
        alike. “Tied” is a difference below 1.96 standard errors, paired by test example. The head alone
        reads the model's own pooled output, without dropout. `python -m benchmarks.recommend --tasks DIR`
        goes on with the runs.""")


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


def _policies(figures: Mapping[str, Judged]) -> Iterator[str]:
    yield "| policy | mean regret | median | less always-LoRA, 95 % | parameters | within 1 | or tied |"
    yield "|---|---:|---:|---|---:|---:|---:|"
    for name, item in figures.items():
        yield (
            f"| {name} | {item.mean:.2f} | {item.median:.2f} | {_interval(item.over_lora)} "
            f"| {item.trained:.2f} × | {item.within:.0%} | {item.within_or_tied:.0%} |"
        )
    yield ""
    yield from paragraph("""
        Regret is in points of accuracy below the best of the three methods. Intervals: bootstrap over
        tasks.""")
    yield "| policy | right label | undecided | Brier | base rate | in the 80 % intervals |"
    yield "|---|---:|---:|---:|---:|---:|"
    for name, item in figures.items():
        brier = "–" if item.brier is None else f"{item.brier:.3f}"
        base = "–" if item.base is None else f"{item.base:.3f}"
        coverage = "–" if item.coverage is None else f"{item.coverage:.0%}"
        yield f"| {name} | {item.label:.0%} | {item.undecided:.0%} | {brier} | {base} | {coverage} |"
    yield ""
    yield from paragraph("""
        The right label is the cheapest method within a point of the best, or tied with it. Brier scores
        are of the probability that a method is within a point; “base rate” always says how often it is.""")


def _reliability(figures: Judged, chosen: str) -> Iterator[str]:
    yield f"Reliability of “{chosen}”: the probability that a method is within a point of the best."
    yield ""
    yield "| said | mean | came true | cases |"
    yield "|---|---:|---:|---:|"
    for low, high, said, came, count in figures.bins:
        yield f"| {low:.1f} – {high:.1f} | {said:.2f} | {came:.2f} | {count} |"


def _published(figures: Mapping[str, Judged]) -> Iterator[str]:
    yield from paragraph("""
        78 comparisons of BitFit, LoRA and full fine-tuning (bitfit_probe/recommendation/published.csv). They
        report the number of examples and no probe, so only rules without one can be tried.""")
    yield "| policy | mean regret | median | less always-LoRA, 95 % | within 1 | right label | undecided |"
    yield "|---|---:|---:|---|---:|---:|---:|"
    for name, item in figures.items():
        yield (
            f"| {name} | {item.mean:.2f} | {item.median:.2f} | {_interval(item.over_lora)} "
            f"| {item.within:.0%} | {item.label:.0%} | {item.undecided:.0%} |"
        )
    yield ""
    yield from paragraph("""
        A model that the rule was not fitted to is judged by these comparisons (“out of range”), whose
        answer is LoRA, and such an answer is never called calibrated.""")


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


def _interval(interval: tuple[float, float]) -> str:
    return f"{interval[0]:+.2f} to {interval[1]:+.2f}"
