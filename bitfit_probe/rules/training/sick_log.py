"""BP213."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.measures.run_log import doubts
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.run_logs import trainer_state

__all__ = ["sick_log"]


@rule("BP213", "sick-log", "warning", needs=("comparison", "trainer-state"))
def sick_log(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The log of the run is not that of a healthy one.

    What it means
    -------------
    Gradients were NaN, infinite or 0, the learning rate was 0 most of the time, or the training loss rose or
    never changed.

    Why it matters
    --------------
    Most of what was run did not train the model, whatever the number of steps says.

    How it is recognised
    --------------------
    In trainer_state.json: more than a fifth of the gradient norms are no numbers (float16's scaler skips
    fewer), or all are 0; the rate is 0 at more than half of the logged steps; the mean loss of the last tenth
    is 1.1 times that of the first, or all losses are equal.

    What to do
    ----------
    Look at the first logged step that is so: with NaN gradients train in bfloat16 or float32; with a rate of
    0 count the scheduler's steps; with a rising loss lower the rate.

    References
    ----------
    Micikevicius et al. 2018, Mixed precision training, section 3.2
    """
    found = doubts(trainer_state(pair))
    if found:
        yield this.finding(
            f"The log is not a healthy run's: {'; '.join(found)}. Look first at the first step that is so.",
            subjects=("trainer_state.json",),
            evidence=(Evidence("doubts", len(found), source="trainer_state.json"),),
        )
