"""A recommendation in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bitfit_probe.records.recommendation import METHODS, Advice, Cost, Recommendation, Recommended, Trial
from bitfit_probe.rendering.figures import measure
from bitfit_probe.rendering.words import plural

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
_VALIDATION = "docs/validation.md"


def answer(found: Recommendation) -> str:
    """The answer in one sentence."""
    if found.method == "undecided":
        return _undecided(found)
    share = share_of(found.costs, found.method)
    at = f", at {share} of the parameters" if share else ""
    said = f"Take {METHODS[found.method]}{at}, at a price of {found.price:g} points for a tenfold of them"
    expected = found.of(found.method)
    if expected is None or len(found.expected) == 1:
        return f"{said}."
    between = " to ".join(map(_GAP.text, expected.interval))
    gap = f"{_GAP.text(expected.gap)} points below the best method (80 % interval {between})"
    return f"{said}. Expected {gap}."


def _undecided(found: Recommendation) -> str:
    begin = METHODS[found.advice.method]
    return f"Undecided: no method beats guessing, so don't choose one yet. Afterwards begin with {begin}."


def calibration(result: Recommended) -> str:
    """Whether the answer can be relied on as it is printed; where to read about it if not."""
    found, trial = result.recommendation, result.trial
    if found.calibrated:
        return "calibrated: yes"
    if trial is not None and not trial.enough:
        return f"calibrated: no, the trial was not completed ({_VALIDATION})"
    if trial is not None:
        return f"calibrated: no ({_VALIDATION}), but measured by a trial on these examples"
    return f"calibrated: no, nothing was trained on these examples ({_VALIDATION})"


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
    spent = f"{trial.seconds / 60:.1f} minutes (the whole plan takes {trial.needed / 60:.1f})"
    runs, held_out = plural(len(trial.runs), "short run"), plural(trial.held_out, "example")
    return f"{runs} in {spent}, trained on {trial.trained_on:,} examples; {held_out} held out, each once."


def share_of(costs: Sequence[Cost], method: str) -> str:
    """Share of all parameters that a method trains, where it is known."""
    trained = {cost.method: cost.trainable for cost in costs}
    if method not in trained or not trained.get("full"):
        return ""
    share = 100 * trained[method] / trained["full"]
    return f"{share:.0f} %" if share >= 10 else f"{share:.2g} %"
