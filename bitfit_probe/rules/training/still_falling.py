"""BP209."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.checkpoint.trainer_state import finite
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import CannotTell, Rule, rule
from bitfit_probe.rules.run_logs import trainer_state

__all__ = ["still_falling"]

#: The last evaluation improved on the one before by more than this share; a convention, and so only an
#: information. With a rate that decays to 0 the runs of benchmarks/healthy.py end below it or above it.
STILL_FALLING = 0.05
#: A schedule that had not come to its end: the last rate is above this share of the highest.
RATE_LEFT = 0.3


@rule("BP209", "curve-still-falling", "info", needs=("comparison", "trainer-state"))
def still_falling(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The loss on held-out examples was still falling when training ended.

    What it means
    -------------
    The last evaluation is the best one, clearly better than the one before, and the learning rate had not
    come down yet.

    Why it matters
    --------------
    More steps would most likely give a better model for the same method; comparing methods at this length
    measures patience.

    How it is recognised
    --------------------
    In trainer_state.json the last `eval_loss` is the lowest and more than 5 % below the one before, and the
    last learning rate is above 30 % of the highest.

    What to do
    ----------
    Train longer, with a schedule that ends at 0.

    References
    ----------
    benzakenelad/BitFit#3
    """
    state = trainer_state(pair)
    losses, rates = state.eval_losses, [rate for _, rate in finite(state.rates)]
    if len(losses) < 2 or not rates:
        raise CannotTell("trainer_state.json logs too few evaluations")
    (_, before), (step, last) = losses[-2:]
    falling = last <= min(loss for _, loss in losses) and last < (1 - STILL_FALLING) * before
    if not falling or rates[-1] <= RATE_LEFT * max(rates):
        return
    yield this.finding(
        f"The held-out loss was still falling at the end (from {before:.3g} to {last:.3g} at step "
        f"{step:,.0f}, "
        f"at {rates[-1] / max(rates):.0%} of the highest rate): longer training would help.",
        subjects=("trainer_state.json",),
        evidence=(
            Evidence("eval_loss", last, "nats", about=f"step {step:.0f}", source="trainer_state.json"),
            Evidence("learning_rate_left", rates[-1] / max(rates), "share", source="trainer_state.json"),
        ),
    )
