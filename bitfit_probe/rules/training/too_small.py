"""BP203."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.measures.training_sufficiency import LIMITS
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.rows import body, moved, peak
from bitfit_probe.rules.run_logs import trainer_state
from bitfit_probe.wording import format_number

__all__ = ["too_small"]

#: For biases and for all parameters the limits are those of `diff`'s line on training. The short BitFit runs
#: of benchmarks/healthy.py have 0.096 to 0.39, the embedded sample 2.3; full ones 0.0017 (32 steps) to 0.058,
#: the rxnfp fine-tunes 0.15 and 0.40.
LEAST_FOR_BIASES, LEAST_FOR_ALL = LIMITS.least_bias_lr_steps, LIMITS.least_full_lr_steps
#: A merged LoRA moves a matrix by a product of two small factors: ten times less. Those of
#: benchmarks/healthy.py have 0.068 to 1.3.
LEAST_FOR_LORA = 1e-4


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
    below 0.0001 for a merged LoRA. trainer_state.json, where it is there, is quoted beside it.

    What to do
    ----------
    Raise the learning rate (BitFit: try 1e-3 and 4e-3) or train longer, until the loss on held-out examples
    stops falling.

    References
    ----------
    benzakenelad/BitFit#3, deepset-ai/FARM#46; Ben Zaken et al. 2022, arXiv 2106.10199
    """
    verdict = pair.comparison.verdict
    least = {
        "bitfit": LEAST_FOR_BIASES,
        "bitfit+norm": LEAST_FOR_BIASES,
        "partial": LEAST_FOR_ALL,
        "full": LEAST_FOR_ALL,
        "merged-lora": LEAST_FOR_LORA,
        "adapter": LEAST_FOR_LORA,
    }.get(verdict)
    largest = peak(moved(body(pair)))
    if least is None or not largest or largest >= least:
        return
    steps, rate = trainer_state(pair).steps, trainer_state(pair).highest_rate
    evidence = [
        Evidence("max_abs_delta", largest, about="everything outside the head"),
        Evidence("lr_times_steps", largest / LIMITS.adam_factor, reading="at least, with Adam"),
    ]
    said = ""
    if rate is not None and steps is not None:
        evidence.append(Evidence("learning_rate", rate, about="the log's highest"))
        evidence.append(Evidence("global_step", steps, "steps", source="trainer_state.json"))
        said = f"; the log says {steps:,} steps at up to {format_number(rate)}"
    yield this.finding(
        f"It hardly trained: nothing outside the head moved by more than {format_number(largest)} (a sound "
        f"{_named(verdict)} run moves by at least {format_number(least)}){said}.",
        evidence=tuple(evidence),
    )


def _named(verdict: str) -> str:
    return {"bitfit": "BitFit", "bitfit+norm": "BitFit", "merged-lora": "LoRA", "adapter": "LoRA"}.get(
        verdict, "fine-tuning"
    )
