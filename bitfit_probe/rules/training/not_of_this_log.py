"""BP212."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.measures.training_sufficiency import adequacy_of
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule

__all__ = ["not_of_this_log"]


@rule("BP212", "not-of-this-log", "info", needs=("comparison", "trainer-state"))
def not_of_this_log(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The weights moved further than the run in the log can have moved them.

    What it means
    -------------
    trainer_state.json is another run's, the base is not the one that training began with, or something else
    than the logged optimiser wrote to the weights.

    Why it matters
    --------------
    Steps, rates and scores in the log do not tell of these weights.

    How it is recognised
    --------------------
    The element that moved most moved 3.2 times the logged sum of learning rates, which Adam can't; or the log
    counts no step. It is information, as SGD and other optimisers have no such bound.

    What to do
    ----------
    Look for the log of this run, and for the checkpoint that it began with (a second run begins where the
    first one ended).

    References
    ----------
    Kingma & Ba 2015, Adam, section 2.1
    """
    found = adequacy_of(pair)
    if found.state != "impossible":
        return
    yield this.finding(
        f"These weights are impossible {'; '.join(found.reasons)}. Look first at whether trainer_state.json "
        "and the base are this run's.",
        subjects=("trainer_state.json",),
        evidence=(
            Evidence("max_abs_delta", found.max_abs_delta, about="everything outside the head"),
            Evidence("lr_times_steps", found.said_lr_times_steps, source="trainer_state.json"),
        ),
    )
