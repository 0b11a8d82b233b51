"""A recommendation in words and finished cells, for terminals and pages alike."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from bitfit_probe.records.recommendation import (
    METHODS,
    Advice,
    Cost,
    Expected,
    Recommendation,
    Recommended,
    Trial,
)
from bitfit_probe.rendering.words import plural

__all__ = [
    "SHORT",
    "STORED_TASKS",
    "answer",
    "calibration",
    "cost_cells",
    "expected_cells",
    "how_to",
    "in_bytes",
    "in_thousands",
    "methods",
    "reasons",
    "trial_cells",
    "trial_sentence",
    "word_lines",
]

#: How methods are called where there is little room.
SHORT = dict(METHODS) | {"full": "full"}
#: Of so many tasks on one base the storage is shown.
STORED_TASKS = 100
#: Gaps below this are printed as 0.0.
_AS_GOOD = 0.05
_THOUSAND = 1000
_VALIDATION = "docs/validation.md"


# Sentences ----------------------------------------------------------------------------------------


def answer(found: Recommendation) -> str:
    """The answer in one sentence."""
    if found.method == "undecided":
        return _undecided(found)
    start, expected = f"Take {METHODS[found.method]}", found.of(found.method)
    share = _share(found.costs, found.method)
    at = f", at {share} of the parameters" if share else ""
    if expected is None:
        return f"{start}{at}."
    if expected.gap < _AS_GOOD:
        close = f"or within {expected.interval[1]:.1f} points of it (80 %)"
        return f"{start}: expected to be the best, {close}{at}."
    return f"{start}: expected within {expected.gap:.1f} points {_interval(expected)} of the best{at}."


def _undecided(found: Recommendation) -> str:
    """Between those of which it can't be excluded that they are within the margin of the best."""
    open_ = [item.method for item in found.expected if item.interval[0] <= found.margin]
    every = [item.method for item in found.expected]
    names = [METHODS[method] for method in (open_ if len(open_) > 1 else every)]
    between = f" between {_listed(names)}" if len(names) > 1 else ""
    why = f"what is known does not tell which is the cheapest within {_points(found.margin)} of the best"
    return f"Undecided{between}: {why}. Begin with {METHODS[found.advice.method]}."


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def _points(count: float) -> str:
    return f"{count:g} point" if count == 1 else f"{count:g} points"


def calibration(result: Recommended) -> str:
    """Whether the answer can be relied on as it is printed; where to read about it if not."""
    found, trial = result.recommendation, result.trial
    if found.calibrated:
        return "calibrated: yes"
    if trial is not None and not trial.enough:
        return f"calibrated: no, the trial's budget was too small to settle it ({_VALIDATION})"
    if trial is not None:
        return f"calibrated: no ({_VALIDATION}), but measured: the trial on these examples had budget enough"
    return f"calibrated: no, see {_VALIDATION} for what held-out tasks say of this rule"


def reasons(found: Recommendation) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Sentences under their headings, those that there are."""
    for title, sentences in (
        ("Because", found.because),
        ("Against", found.against),
        ("What would change it", found.would_change),
    ):
        if sentences:
            yield title, sentences


def how_to(advice: Advice) -> Iterator[tuple[str, str]]:
    """What to set, as names and sentences."""
    low, high = advice.learning_rate
    yield "learning rate", f"{_rate(low)} to {_rate(high)}, peak"
    if advice.roles:
        carry = f"{', '.join(advice.roles)} carry most of what biases reach here"
        yield "roles", f"{carry}, and may do alone (--roles {','.join(advice.roles)})"
    if advice.lora is not None:
        yield "rank", f"{advice.lora.rank}"
        yield "modules", ", ".join(advice.lora.targets)
        yield "why these", advice.lora.why
    for warning in advice.warnings:
        yield "warning", warning


def _rate(rate: float) -> str:
    """A learning rate as people write it.

    >>> _rate(0.0005), _rate(0.01)
    ('5e-4', '1e-2')
    """
    digits, _, power = f"{rate:.1e}".partition("e")
    return f"{digits.removesuffix('.0')}e{int(power)}"


def trial_sentence(trial: Trial) -> str:
    """What was tried, with what."""
    spent = f"{trial.seconds / 60:.1f} of {trial.minutes:g} minutes"
    examples = f"at most {plural(trial.trained_on, 'example')}, judged on {trial.held_out:,} others"
    return f"{plural(len(trial.runs), 'short run')} in {spent}, trained on {examples}."


# Cells --------------------------------------------------------------------------------------------


def methods(found: Recommendation) -> Iterator[tuple[str, Expected | None, Cost | None]]:
    """What is expected of each method beside what it costs, cheapest first."""
    costs = {cost.method: cost for cost in found.costs}
    names = dict.fromkeys([*(item.method for item in found.expected), *costs])
    for name in names:
        yield name, found.of(name), costs.get(name)


def expected_cells(item: Expected | None) -> tuple[str, str, str]:
    """Gap, interval and basis."""
    return ("–", "–", "–") if item is None else (f"{item.gap:.1f}", _interval(item), item.basis)


def cost_cells(cost: Cost | None, costs: Sequence[Cost]) -> tuple[str, str, str, str, str]:
    """Trained parameters, their share, memory of the optimizer, what is kept of one task and of many."""
    if cost is None:
        return ("–",) * 5
    stored = in_bytes(cost.stored(STORED_TASKS))
    kept = (in_bytes(cost.optimizer_bytes), in_bytes(cost.checkpoint_bytes), stored)
    return (f"{cost.trainable:,}", _share(costs, cost.method) or "–", *kept)


def trial_cells(trial: Trial) -> Iterator[tuple[str, ...]]:
    """One row a method: its key, rate, score, interval, gap, interval, score foreseen with all examples."""
    for item in trial.results:
        foreseen = "–" if item.extrapolated is None else f"{item.extrapolated:.3f}"
        yield (
            item.method,
            f"{_rate(item.rate)}{' (edge)' if item.at_edge else ''}",
            f"{item.score:.3f}",
            f"[{item.interval[0]:.3f}, {item.interval[1]:.3f}]",
            f"{item.gap:.1f}",
            f"[{item.gap_interval[0]:.1f}, {item.gap_interval[1]:.1f}]",
            foreseen,
        )


def _interval(item: Expected) -> str:
    return f"[{item.interval[0]:.1f}, {item.interval[1]:.1f}]"


def _share(costs: Sequence[Cost], method: str) -> str:
    """Share of all parameters that a method trains, where it is known."""
    trained = {cost.method: cost.trainable for cost in costs}
    if method not in trained or not trained.get("full"):
        return ""
    share = 100 * trained[method] / trained["full"]
    return f"{share:.0f} %" if share >= 10 else f"{share:.2g} %"


def in_bytes(count: int) -> str:
    """A size in three digits at most.

    >>> in_bytes(411_666), in_bytes(1_340_000_000), in_bytes(96)
    ('412 kB', '1.34 GB', '96 B')
    """
    return f"{in_thousands(count)}B" if count >= _THOUSAND else f"{count} B"


def in_thousands(count: int) -> str:
    """A count in three digits at most, and the power of a thousand that they stand for.

    >>> in_thousands(66_438), in_thousands(335_143_938), in_thousands(999_999), in_thousands(96)
    ('66.4 k', '335 M', '1 M', '96')
    """
    size, prefixes = float(count), iter(("", "k", "M", "G", "T", "P"))
    prefix = next(prefixes)
    while size >= _THOUSAND - 0.5 and (larger := next(prefixes, None)) is not None:
        size, prefix = size / _THOUSAND, larger
    return f"{size:.3g} {prefix}" if prefix else str(count)


def word_lines(command: str, width: int) -> list[str]:
    r"""A shell command in lines of at most `width` columns, broken between words where a shell allows it.

    >>> word_lines("bitfit-probe tune base --data 'my file'", 24)
    ['bitfit-probe tune base \\', "  --data 'my file'"]
    """
    lines = [""]
    for piece in _with_values([shlex.quote(word) for word in shlex.split(command)]):
        if lines[-1].strip() and len(lines[-1]) + len(piece) + 3 > width:
            lines[-1] += " \\"
            lines.append("  ")
        lines[-1] += f"{' ' if lines[-1].strip() else ''}{piece}"
    return lines


def _with_values(words: Sequence[str]) -> list[str]:
    """Options with their values, which stay on one line."""
    pieces: list[str] = []
    for at, word in enumerate(words):
        follows = at > 0 and words[at - 1].startswith("--") and not word.startswith("--")
        if follows and pieces:
            pieces[-1] += f" {word}"
        else:
            pieces.append(word)
    return pieces
