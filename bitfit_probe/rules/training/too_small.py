"""BP203."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.measures.training_sufficiency import LIMITS, adequacy_of
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.rows import body, moved, peak
from bitfit_probe.rules.run_logs import trainer_state
from bitfit_probe.wording import format_number

__all__ = ["too_small"]


@rule("BP203", "step-too-small", "warning", catalogue=(6,))
def too_small(pair: Pair, this: Rule) -> Iterator[Finding]:
    """It trained, but by so little that the model can hardly have learned anything.

    What it means
    -------------
    The learning rate times the number of steps was too small for the method. BitFit wants rates of 1e-4 to
    1e-2, ten to a hundred times those of full fine-tuning.

    Why it matters
    --------------
    Scores stay near the base's with a new head, and the method gets the blame.

    How it is recognised
    --------------------
    With Adam, the element that moved most moved by about the learning rate times the steps. That largest
    change outside the head is below 0.01 where biases (and norms) were trained, below 0.001 where all were,
    below 0.0001 for a merged LoRA; or it, or the logged rates, are far below what the other says. It is
    `diff`'s line on training.

    What to do
    ----------
    Raise the learning rate (BitFit: try 1e-3 and 4e-3) or train longer, until the loss on held-out examples
    stops falling.

    References
    ----------
    benzakenelad/BitFit#3, deepset-ai/FARM#46; Ben Zaken et al. 2022, arXiv 2106.10199
    """
    found = adequacy_of(pair)
    largest = peak(moved(body(pair)))
    if found.state != "under-trained" or not largest:
        return
    log = trainer_state(pair)
    evidence = [
        Evidence("max_abs_delta", largest, about="everything outside the head"),
        Evidence("lr_times_steps", largest / LIMITS.adam_factor, reading="at least, with Adam"),
    ]
    said = ""
    if log.highest_rate is not None and log.steps is not None:
        evidence.append(Evidence("learning_rate", log.highest_rate, about="the log's highest"))
        evidence.append(Evidence("global_step", log.steps, "steps", source="trainer_state.json"))
        said = f"; the log says {log.steps:,} steps at up to {format_number(log.highest_rate)}"
    least = _least(pair.comparison.verdict)
    why = (
        f"nothing outside the head moved by more than {format_number(largest)} (a sound "
        f"{_named(pair.comparison.verdict)} run moves by at least {format_number(least)})"
        if largest < least
        else "; ".join(found.reasons)
    )
    yield this.finding(f"It hardly trained: {why}{said}.", evidence=tuple(evidence))


def _least(verdict: str) -> float:
    if verdict in ("merged-lora", "adapter"):
        return LIMITS.least_lora_change
    return LIMITS.least_bias_lr_steps if verdict.startswith("bitfit") else LIMITS.least_full_lr_steps


def _named(verdict: str) -> str:
    return {"bitfit": "BitFit", "bitfit+norm": "BitFit", "merged-lora": "LoRA", "adapter": "LoRA"}.get(
        verdict, "fine-tuning"
    )
