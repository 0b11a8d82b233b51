"""docs/validation.md, from figures."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from benchmarks.recommend.plan import BUDGETS
from benchmarks.recommend.samples import RUNS, Case, read
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
        f"{size} examples {budget.epochs} epochs in batches of {budget.batch}"
        for size, budget in BUDGETS.items()
    )
    yield from paragraph(f"""
        {len(rows)} runs ({hours:.1f} hours, one core each), {len(found)} cases of {len(tasks)} tasks
        ({", ".join(tasks)}). Budgets: {budgets}. All other examples test, the same for every method. Each
        method counts at its best learning rate, by the mean over seeds on those test examples, so that
        scores are a little too good for all alike. “Tied” is a difference below 1.96 standard errors,
        paired by test example. {_edges(rows)} The head alone reads the model's own pooled output, without
        dropout. `python -m benchmarks.recommend --tasks DIR` goes on with the runs.""")


def _edges(rows: Sequence[Mapping[str, str]]) -> str:
    """How often the best rate lies at an edge, where a rate outside was tried on both sides."""
    found: dict[tuple[str, ...], dict[float, float]] = {}
    for row in rows:
        if row["method"] != "head":
            key = (row["model"], row["task"], row["size"], row["seed"], row["method"])
            found.setdefault(key, {})[float(row["rate"])] = float(row["accuracy"])
    swept = [scores for scores in found.values() if len(scores) >= 4]
    inside = sum(
        max(scores, key=lambda rate: scores[rate]) not in (min(scores), max(scores)) for scores in swept
    )
    return f"Where four rates were tried ({len(swept)} sweeps), the best lay inside in {inside}."


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
        78 comparisons of BitFit, LoRA and full fine-tuning (bitfit_probe/recommend/published.csv). They
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
