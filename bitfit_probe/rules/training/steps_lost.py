"""BP204."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.rows import is_the_base
from bitfit_probe.rules.run_logs import trainer_state
from bitfit_probe.wording import format_number

__all__ = ["steps_lost"]


@rule("BP204", "steps-without-effect", "error", explains=("BP201",), catalogue=(7,))
def steps_lost(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The log counts optimizer steps, but the weights are those of the base.

    What it means
    -------------
    Steps were skipped (a gradient scaler that met Inf at every step), gradients were erased before the
    step, the optimizer held other parameters than the model, or other weights were saved than trained.

    Why it matters
    --------------
    The logs look like training, and the model is the base.

    How it is recognised
    --------------------
    trainer_state.json says `global_step` > 0 and a learning rate above 0, while every shared parameter,
    head included, is bit for bit the base's (or was only cast).

    What to do
    ----------
    Step by hand once: after `optimizer.step()` a trainable parameter must have another value. Look for a
    loss scale that only falls, a `zero_grad()` before the step, parameters that were replaced after the
    optimizer was made, and a save that took another copy of the model.

    References
    ----------
    Tony-Y/pytorch_warmup#12, pytorch/pytorch#152279, THUDM/slime#1842
    """
    steps, rate = trainer_state(pair).steps, trainer_state(pair).highest_rate
    rest = pair.comparison.verdict == "rounding-only" and not pair.comparison.summary.head_changed
    if not (is_the_base(pair) or rest) or not steps or not rate:
        return
    yield this.finding(
        f"The log counts {steps:,} steps at rates up to {format_number(rate)}, but no weight changed: "
        "the steps had no effect, or other weights were saved.",
        subjects=("trainer_state.json",),
        evidence=(
            Evidence("global_step", steps, "steps", source="trainer_state.json"),
            Evidence("learning_rate", rate, about="the log's highest", source="trainer_state.json"),
            Evidence("changed_parameters", 0, "elements"),
        ),
    )
