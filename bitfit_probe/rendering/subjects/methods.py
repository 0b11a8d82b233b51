"""A recommendation in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bitfit_probe.records.recommendation import METHODS, Advice, Cost, Recommendation, Recommended, Trial
from bitfit_probe.rendering.figures import measure
from bitfit_probe.rendering.words import join_names, plural

__all__ = [
    "answer",
    "calibration",
    "how_to",
    "rate_text",
    "reasons",
    "share_of",
    "trial_sentence",
]

_GAP = measure("gap")
#: Gaps below this are printed as 0.0.
_AS_GOOD = 0.05
_VALIDATION = "docs/validation.md"


def answer(found: Recommendation) -> str:
    """The answer in one sentence."""
    if found.method == "undecided":
        return _undecided(found)
    start, expected = f"Take {METHODS[found.method]}", found.of(found.method)
    share = share_of(found.costs, found.method)
    at = f", at {share} of the parameters" if share else ""
    if expected is None:
        return f"{start}{at}."
    if expected.gap < _AS_GOOD:
        close = f"or within {expected.interval[1]:.1f} points of it (80 %)"
        return f"{start}: expected to be the best, {close}{at}."
    gap = f"{_GAP.text(expected.gap)} points {_GAP.interval(expected.interval)}"
    return f"{start}: expected within {gap} of the best{at}."


def _undecided(found: Recommendation) -> str:
    """Between those of which it can't be excluded that they are within the margin of the best."""
    open_ = [item.method for item in found.expected if item.interval[0] <= found.margin]
    every = [item.method for item in found.expected]
    names = [METHODS[method] for method in (open_ if len(open_) > 1 else every)]
    between = f" between {join_names(names)}" if len(names) > 1 else ""
    why = f"what is known does not tell which is the cheapest within {_points(found.margin)} of the best"
    return f"Undecided{between}: {why}. Begin with {METHODS[found.advice.method]}."


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
    yield "learning rate", f"{rate_text(low)} to {rate_text(high)}, peak"
    if advice.roles:
        carry = f"{', '.join(advice.roles)} carry most of what biases reach here"
        yield "roles", f"{carry}, and may do alone (--roles {','.join(advice.roles)})"
    if advice.lora is not None:
        yield "rank", f"{advice.lora.rank}"
        yield "modules", ", ".join(advice.lora.targets)
        yield "why these", advice.lora.why
    for warning in advice.warnings:
        yield "warning", warning


def rate_text(rate: float) -> str:
    """A learning rate as people write it.

    >>> rate_text(0.0005), rate_text(0.01)
    ('5e-4', '1e-2')
    """
    digits, _, power = f"{rate:.1e}".partition("e")
    return f"{digits.removesuffix('.0')}e{int(power)}"


def trial_sentence(trial: Trial) -> str:
    """What was tried, with what."""
    spent = f"{trial.seconds / 60:.1f} of {trial.minutes:g} minutes"
    examples = f"at most {plural(trial.trained_on, 'example')}, judged on {trial.held_out:,} others"
    return f"{plural(len(trial.runs), 'short run')} in {spent}, trained on {examples}."


def share_of(costs: Sequence[Cost], method: str) -> str:
    """Share of all parameters that a method trains, where it is known."""
    trained = {cost.method: cost.trainable for cost in costs}
    if method not in trained or not trained.get("full"):
        return ""
    share = 100 * trained[method] / trained["full"]
    return f"{share:.0f} %" if share >= 10 else f"{share:.2g} %"
