"""The Markdown page: what moved, what matters, and whether the published pattern is seen, by fixed rules."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from scipy.stats import rankdata, spearmanr  # type: ignore[import-untyped]

Run = dict[str, Any]

MEASURES = {
    "size": "mean\\|Δb\\|",
    "beft": "BEFT",
    "fisher": "Fisher",
    "revert": "reverting",
}
#: Published ranks of the roles of one run (BERT-base, arXiv 2509.15974), 1 first; ties share a rank.
PUBLISHED = {
    "size": {"m2": 1, "q": 2, "LN1": 3, "m1": 5.5, "m3": 5.5, "v": 5.5, "LN2": 5.5, "k": 8},
    "beft": {"v": 1, "m1": 2, "m2": 3, "LN2": 4, "m3": 5, "q": 6, "LN1": 7, "k": 8},
    "fisher": {"LN2": 1, "m1": 2, "LN1": 3, "v": 4, "m3": 5, "m2": 6, "q": 7, "k": 8},
}
_HEAD = """# Which biases move, and which matter

Made by `python -m benchmarks.rankings --write docs/rankings.md`: BitFit runs (every bias and the head,
AdamW, no weight decay), three seeds a base and task; a seed decides the training examples, the new head, the
order and dropout. Everything is measured on {test} held-out examples, Fisher on {fisher} of them.

- **mean|Δb|**: the BitFit paper's amount of change, a role's average over the layers.
- **BEFT**: 1 − ⟨t, b⟩ / max(‖b‖, ‖t‖)².
- **Fisher**: mean squared gradient of the tuned model's loss, per element.
- **reverting**: how much the loss rises (nats) when all biases of the role go back to the base's.
"""


def page(results: Mapping[tuple[str, str], Sequence[Run]], test: int, fisher: int) -> str:
    """The whole page; `results` holds the runs of each base and task."""
    parts = [_HEAD.format(test=test, fisher=fisher)]
    parts += [_section(base, task, runs) for (base, task), runs in results.items()]
    parts.append(_agreement(results))
    return "\n".join(parts)


# One base and task --------------------------------------------------------------------------------


def _section(base: str, task: str, runs: Sequence[Run]) -> str:
    settings = runs[0]["run"]["settings"]
    accuracies = ", ".join(f"{run['reverting']['accuracy']:.3f}" for run in runs)
    lines = [
        f"## {base}, {task}",
        "",
        f"{settings['examples']:,} training examples, {settings['epochs']} epochs, "
        f"batch {settings['batch']}, learning rate {settings['learning_rate']:g}; "
        f"test accuracy {accuracies}.",
        "",
        "mean|Δb| by role and layer, the average of the seeds; rows by their total.",
        "",
        *_heat(runs),
        "",
        "Roles by every measure: the average of the seeds, and in brackets its rank. Reverting: the change",
        "of each seed, and in how many of the seeds it matters, is free, or stays undecided.",
        "",
        *_roles(runs),
        "",
        *_keys(runs),
        "Spearman rank correlations over the roles, average of the seeds [least, most]; below, over the",
        "cells of role and layer.",
        "",
        *_correlations(runs),
        "",
    ]
    return "\n".join(lines)


def _keys(runs: Sequence[Run]) -> list[str]:
    found = [change for run in runs if (change := run["largest_key_logit_change"]) is not None]
    return [f"Reverting the key biases changed no logit by more than {max(found):.1e}.", ""] if found else []


def _heat(runs: Sequence[Run]) -> Iterator[str]:
    cells = {cell: fmean(run["cells"][cell] for run in runs) for cell in runs[0]["cells"]}
    layers = sorted({int(cell.split()[1]) for cell in cells})
    rows = {
        role: [cells.get(f"{role} {layer}") for layer in layers]
        for role in dict.fromkeys(cell.split()[0] for cell in cells)
    }
    yield "| role | " + " | ".join(map(str, layers)) + " | average |"
    yield "|---|" + "---|" * (len(layers) + 1)
    for role, values in sorted(rows.items(), key=lambda item: -sum(v or 0 for v in item[1])):
        known = [value for value in values if value is not None]
        shown = " | ".join("" if value is None else f"{value:.4f}" for value in values)
        yield f"| {role} | {shown} | {fmean(known):.4f} |"


def _roles(runs: Sequence[Run]) -> Iterator[str]:
    names = _names(runs)
    means = {measure: _mean(runs, measure) for measure in MEASURES}
    ranks = {measure: _ranks(means[measure], names) for measure in MEASURES}
    yield "| role | " + " | ".join(MEASURES.values()) + " | seeds | matters / free / undecided |"
    yield "|---|" + "---|" * (len(MEASURES) + 2)
    for role in sorted(names, key=lambda name: -means["revert"][name]):
        values = " | ".join(f"{means[m][role]:+.2e} ({ranks[m][role]:g})" for m in MEASURES)
        each = ", ".join(f"{_values(run, 'revert')[role]:+.3f}" for run in runs)
        verdicts = [run["verdicts"][role] for run in runs]
        counts = (
            "no effect"
            if "no effect" in verdicts
            else " / ".join(str(verdicts.count(verdict)) for verdict in ("matters", "free", "undecided"))
        )
        yield f"| {role} | {values} | {each} | {counts} |"


def _correlations(runs: Sequence[Run]) -> Iterator[str]:
    yield "| | " + " | ".join(MEASURES.values()) + " |"
    yield "|---|" + "---|" * len(MEASURES)
    for one, other_rows in itertools.groupby(itertools.product(MEASURES, MEASURES), key=lambda pair: pair[0]):
        cells = ["1" if one == other else _spread(_over_roles(runs, one, other)) for _, other in other_rows]
        yield f"| {MEASURES[one]} | " + " | ".join(cells) + " |"
    static = [name for name in MEASURES if name != "revert"]
    for one, other in itertools.combinations(static, 2):
        values = [_over_cells(run, one, other) for run in runs]
        yield f"| cells: {MEASURES[one]}, {MEASURES[other]} | {_spread(values)} |" + " |" * (
            len(MEASURES) - 1
        )


# Agreement with what was published ----------------------------------------------------------------


def _agreement(results: Mapping[tuple[str, str], Sequence[Run]]) -> str:
    columns = list(results)
    lines = [
        "## Beside the published pattern",
        "",
        "Each line is decided by its rule, from all seeds: *holds* where it does in every seed, *does not*",
        "*hold* where it does in none, else *mixed* with the count. Published: query and intermediate",
        "biases move most, key biases least (Ben Zaken et al. 2022); over eight roles of one run the",
        "rank correlation of mean|Δb| is −.32 with BEFT and −.68 with Fisher (from the ranks in",
        "arXiv 2509.15974).",
        "",
        "| | " + " | ".join(f"{base}, {task}" for base, task in columns) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for words, rule in _RULES.items():
        lines.append(f"| {words} | " + " | ".join(_decided(results[c], rule) for c in columns) + " |")
    for measure, ranks in PUBLISHED.items():
        cells = [_spread([_against(run, measure, ranks) for run in results[c]]) for c in columns]
        lines.append(
            f"| rank correlation with the published order by {MEASURES[measure]} | "
            + " | ".join(cells)
            + " |"
        )
    return "\n".join([*lines, ""])


def _first(run: Run, measure: str, count: int) -> set[str]:
    values = _values(run, measure)
    return set(sorted(values, key=lambda role: -values[role])[:count])


_RULES: dict[str, Callable[[Run], bool]] = {
    "q and m2 are the two that moved most": lambda run: _first(run, "size", 2) == {"q", "m2"},
    "q or m2 moved most": lambda run: _first(run, "size", 1) <= {"q", "m2"},
    "k moved least": lambda run: _first(run, "size", 7) == set(_values(run, "size")) - {"k"},
    "mean\\|Δb\\| and BEFT disagree (ρ < 0)": lambda run: _over_roles([run], "size", "beft")[0] < 0,
    "mean\\|Δb\\| and Fisher disagree (ρ < 0)": lambda run: _over_roles([run], "size", "fisher")[0] < 0,
    "what moved most matters most when reverted": lambda run: (
        _first(run, "size", 1) == _first(run, "revert", 1)
    ),
    "size ranks like reverting (ρ > 0.5)": lambda run: _over_roles([run], "size", "revert")[0] > 0.5,
    "Fisher ranks like reverting (ρ > 0.5)": lambda run: _over_roles([run], "fisher", "revert")[0] > 0.5,
}


def _decided(runs: Sequence[Run], rule: Callable[[Run], bool]) -> str:
    count = sum(map(rule, runs))
    if count in (0, len(runs)):
        return "holds" if count else "does not hold"
    return f"mixed ({count} of {len(runs)})"


# Figures ------------------------------------------------------------------------------------------


def _names(runs: Sequence[Run]) -> list[str]:
    return list(runs[0]["roles"])


def _values(run: Run, measure: str) -> dict[str, float]:
    """The measure by role, inside the layers."""
    if measure != "revert":
        return {role: figures[measure] for role, figures in run["roles"].items()}
    changes = {row["group"]["role"]: row["loss_change"] for row in run["reverting"]["rows"]}
    return {role: changes[role] for role in run["roles"]}


def _mean(runs: Sequence[Run], measure: str) -> dict[str, float]:
    return {role: fmean(_values(run, measure)[role] for run in runs) for role in _names(runs)}


def _ranks(values: Mapping[str, float], names: Iterable[str]) -> dict[str, float]:
    names = list(names)
    return dict(zip(names, rankdata([-values[name] for name in names]).tolist(), strict=True))


def _over_roles(runs: Sequence[Run], one: str, other: str) -> list[float]:
    return [_spearman(_values(run, one), _values(run, other)) for run in runs]


def _over_cells(run: Run, one: str, other: str) -> float:
    cells = run["cell_measures"].values()
    return float(spearmanr([c[one] for c in cells], [c[other] for c in cells]).statistic)


def _against(run: Run, measure: str, ranks: Mapping[str, float]) -> float:
    ours = _values(run, measure)
    return _spearman({role: ours[role] for role in ranks}, {role: -rank for role, rank in ranks.items()})


def _spearman(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    return float(spearmanr([one[name] for name in one], [other[name] for name in one]).statistic)


def _spread(values: Sequence[float]) -> str:
    return f"{fmean(values):+.2f} [{min(values):+.2f}, {max(values):+.2f}]"
