"""Fit the rule to all cells, judge it on tasks it was not fitted to, and write what came out.

    python -m benchmarks.recommend.validate [--write]

Writes bitfit_probe/recommendation/calibration.json (the rule that ships) and docs/validation.md. Own runs are
judged leaving one task out, published comparisons leaving one paper out. Every choice inside a fold
(thresholds, intervals) sees the other tasks only.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.recommend import page
from benchmarks.recommend.clusters import cluster_interval
from benchmarks.recommend.samples import Case, cases, published
from bitfit_probe.recommendation.decide import PRIOR, choose
from bitfit_probe.recommendation.fitting import Sample, fit
from bitfit_probe.recommendation.rule import FEATURES, Rule
from bitfit_probe.records.recommendation import METHODS

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "bitfit_probe" / "recommend" / "calibration.json"
PAGE = ROOT / "docs" / "validation.md"
MARGIN = 1.0

Features = Mapping[str, tuple[str, ...]]


def _both(*names: str) -> Features:
    """The same features for either method."""
    return {"bitfit": names, "full": names}


#: What was tried: names of the features that the lines may look at.
DESIGNS: dict[str, Features] = {
    "no features": _both(),
    "size": _both("log2_examples"),
    "size and probe": _both("log2_examples", "skill"),
    "reach": {"bitfit": ("reach_lora_over_bitfit",), "full": ("reach_full_over_lora",)},
    "parameters": FEATURES,
    "parameters and size": _both("log2_parameters", "log2_examples"),
    "parameters, size and probe": _both("log2_parameters", "log2_examples", "skill"),
    "parameters and reach": {
        "bitfit": ("log2_parameters", "reach_lora_over_bitfit"),
        "full": ("log2_parameters", "reach_full_over_lora"),
    },
    "squared error of reach": {
        "bitfit": ("error_lora_under_bitfit",),
        "full": ("error_full_under_lora",),
    },
    "parameters and squared error of reach": {
        "bitfit": ("log2_parameters", "error_lora_under_bitfit"),
        "full": ("log2_parameters", "error_full_under_lora"),
    },
    "size, probe and classes": _both("log2_examples", "skill", "log2_classes"),
    "size, probe and reach": {
        "bitfit": ("log2_examples", "skill", "reach_lora_over_bitfit"),
        "full": ("log2_examples", "skill", "reach_full_over_lora"),
    },
}


@dataclass(frozen=True)
class Advised:
    """What a policy says about one case, and the rule's probabilities and intervals where it has them."""

    case: Case
    method: str
    undecided: bool = False
    within: Mapping[str, float] | None = None
    inside: tuple[bool, ...] = ()


Policy = Callable[[Sequence[Case]], list[Advised]]


def by_rule(features: Features) -> Policy:
    """Advise each task by a rule fitted to the others; where it is undecided, what one begins with."""

    def policy(found: Sequence[Case]) -> list[Advised]:
        out = []
        for task in dict.fromkeys(case.task for case in found):
            rest = [sample for case in found if case.task != task for sample in case.samples]
            rule = fit(rest, features)
            out += [_advised(rule, case) for case in found if case.task == task]
        return out

    return policy


def _advised(rule: Rule, case: Case) -> Advised:
    """One answer for all seeds of a case: probabilities are averaged over them."""
    seen = [rule.gaps(sample.values) for sample in case.samples]
    within = {m: float(np.mean([gaps.within(m, MARGIN) for gaps in seen])) for m in METHODS}
    inside = tuple(
        low <= sample.over_lora(method) <= high
        for sample in case.samples
        for method in ("bitfit", "full")
        for low, high in [rule.interval(method, sample.values)]
    )
    answer = choose(within)
    method = PRIOR if answer == "undecided" else answer
    return Advised(case, method, answer == "undecided", within, inside)


def always(method: str) -> Policy:
    """The same everywhere."""
    return lambda found: [Advised(case, method) for case in found]


def threshold(feature: str) -> Policy:
    """BitFit on one side of a threshold and LoRA on the other, fitted to the other tasks' regret."""

    def policy(found: Sequence[Case]) -> list[Advised]:
        out = []
        for task in dict.fromkeys(case.task for case in found):
            rest = [case for case in found if case.task != task]
            cut, below = _best_cut(rest, feature)
            for case in found:
                if case.task == task:
                    out.append(Advised(case, "bitfit" if (_value(case, feature) < cut) == below else "lora"))
        return out

    return policy


def _value(case: Case, feature: str) -> float:
    return float(np.mean([sample.values[feature] for sample in case.samples]))


def _best_cut(rest: Sequence[Case], feature: str) -> tuple[float, bool]:
    values = sorted({_value(case, feature) for case in rest})
    options = [(cut, below) for cut in (*values, values[-1] + 1) for below in (True, False)]

    def regret(option: tuple[float, bool]) -> float:
        cut, below = option
        methods = ["bitfit" if (_value(case, feature) < cut) == below else "lora" for case in rest]
        return float(np.mean([case.gap(method) for case, method in zip(rest, methods, strict=True)]))

    return min(options, key=regret)


@dataclass(frozen=True)
class Judged:
    """How a policy did.

    Attributes
    ----------
    mean, median
        Regret: points below the best method.
    within
        Share of cases in which the advised method is within a point of the best.
    within_or_tied
        The same, and where the best is better by less than noise.
    label
        Share of cases in which it is the cheapest method within a point of the best (or tied).
    trained
        Parameters that it trains, as a share of LoRA's, on average.
    over_lora
        95 % interval, by bootstrap over tasks, of the mean regret less that of always-LoRA.
    undecided
        Share of cases without an answer.
    brier, base
        Mean squared error of the probability that a method is within the margin, and that of always saying
        how often it is.
    coverage
        Share of differences from LoRA inside their 80 % intervals.
    bins
        Reliability: lowest and highest probability, mean probability, share that came true, count.
    """

    mean: float
    median: float
    within: float
    within_or_tied: float
    label: float
    trained: float
    over_lora: tuple[float, float]
    undecided: float
    brier: float | None = None
    base: float | None = None
    coverage: float | None = None
    bins: tuple[tuple[float, float, float, float, int], ...] = ()


def judge(advised: Sequence[Advised]) -> Judged:
    """Figures of one policy over all cases."""
    gaps = np.array([item.case.gap(item.method) for item in advised])
    tied = np.array([item.case.tied(item.method) for item in advised])
    lora = np.array([item.case.gap("lora") for item in advised])
    share = [item.case.trained[item.method] / item.case.trained["lora"] for item in advised]
    tasks = [item.case.task for item in advised]
    good = (gaps <= MARGIN) | tied
    labels = [item.method == cheapest(item.case) for item in advised]
    probabilities = [item for item in advised if item.within is not None]
    return Judged(
        mean=float(gaps.mean()),
        median=float(np.median(gaps)),
        within=float((gaps <= MARGIN).mean()),
        within_or_tied=float(good.mean()),
        label=float(np.mean(labels)),
        trained=float(np.mean(share)),
        over_lora=cluster_interval(np.mean, (gaps - lora,), tasks),
        undecided=float(np.mean([item.undecided for item in advised])),
        **(_calibration(probabilities) if probabilities else {}),
    )


def cheapest(case: Case) -> str:
    """The cheapest method within a point of the best, or tied with it."""
    return next(method for method in METHODS if case.gap(method) <= MARGIN or case.tied(method))


def _calibration(advised: Sequence[Advised]) -> dict[str, object]:
    said = np.array([(item.within or {})[m] for item in advised for m in METHODS])
    came = np.array([float(item.case.gap(m) <= MARGIN) for item in advised for m in METHODS])
    usual = np.tile(came.reshape(-1, len(METHODS)).mean(0), len(advised))
    edges = np.linspace(0, 1, 6)
    bins = []
    for low, high in pairwise(edges):
        here = (said >= low) & ((said < high) | (high == 1))
        if here.any():
            bins.append((low, high, float(said[here].mean()), float(came[here].mean()), int(here.sum())))
    inside = [flag for item in advised for flag in item.inside]
    return {
        "brier": float(np.mean((said - came) ** 2)),
        "base": float(np.mean((usual - came) ** 2)),
        "coverage": float(np.mean(inside)),
        "bins": tuple(bins),
    }


def as_case(sample: Sample) -> Case:
    """A published comparison: nothing is known of ties, and parameters are as good as none and all."""
    nothing = {method: np.array([score]) for method, score in sample.scores.items()}
    return Case(
        sample.model, sample.task, sample.size, (sample,), nothing, {"bitfit": 0, "lora": 1, "full": 1}
    )


POLICIES: dict[str, Policy] = {
    "always BitFit": always("bitfit"),
    "always LoRA": always("lora"),
    "always full": always("full"),
    "threshold on examples": threshold("log2_examples"),
    "threshold on the probe": threshold("skill"),
}
#: The design that ships.
CHOSEN = "parameters"


def own() -> dict[str, Judged]:
    """Every policy and design on own runs, one task left out at a time."""
    found = cases()
    policies = POLICIES | {f"rule: {name}": by_rule(features) for name, features in DESIGNS.items()}
    return {name: judge(policy(found)) for name, policy in policies.items()}


def others() -> dict[str, Judged]:
    """The same on published comparisons, one paper left out at a time, with the evidence that they have."""
    found = [as_case(sample) for sample in published()]
    policies = {name: policy for name, policy in POLICIES.items() if "probe" not in name}
    for name in ("no features", "size"):
        policies[f"rule: {name}"] = by_rule(DESIGNS[name])
    return {name: judge(policy(found)) for name, policy in policies.items()}


def passed(figures: Mapping[str, Judged]) -> bool:
    """What the rule must do before its answers are called calibrated."""
    ours, lora = figures[f"rule: {CHOSEN}"], figures["always LoRA"]
    assert ours.coverage is not None
    return (
        ours.mean < lora.mean
        and ours.trained <= 1
        and ours.within_or_tied >= 0.85
        and 0.7 <= ours.coverage <= 0.9
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    found = cases()
    ours, theirs = own(), others()
    text = page.validation(found, ours, theirs, passed(ours), CHOSEN)
    if not arguments.write:
        print(text)
        return
    rule = fit([sample for case in found for sample in case.samples], DESIGNS[CHOSEN])
    figures = ours[f"rule: {CHOSEN}"]
    stored = {
        "made_by": "python -m benchmarks.recommend.validate --write",
        "calibrated": passed(ours),
        "validation": {
            "cases": len(found),
            "tasks": len({case.task for case in found}),
            "mean_regret": round(figures.mean, 3),
            "mean_regret_always_lora": round(ours["always LoRA"].mean, 3),
            "within_a_point": round(figures.within_or_tied, 3),
            "coverage": round(figures.coverage or 0.0, 3),
        },
        "rule": rule.as_dict(),
    }
    SHIPPED.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
