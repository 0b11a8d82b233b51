"""BP211."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.measures.training_sufficiency import adequacy_of
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule

__all__ = ["blown_up"]


@rule("BP211", "blown-up", "error", explains=("BP213",))
def blown_up(pair: Pair, this: Rule) -> Iterator[Finding]:
    """Training ran away: weights, or the logged loss, left every sensible range.

    What it means
    -------------
    The rate was too high, a gradient overflowed, or something was added to the weights that is no training.

    Why it matters
    --------------
    What pretraining had put there is drowned: the model answers by chance.

    How it is recognised
    --------------------
    Values became NaN or infinite; an element moved by more than 100; what moved did so by more than 1 in the
    root mean square and five times what the base had there; or trainer_state.json ends with a loss that is
    NaN, or twice what it began with. It is `diff`'s line on training.

    What to do
    ----------
    Go back to the last sound checkpoint; lower the rate or clip gradients, and look at the loss of the first
    steps.

    References
    ----------
    Kingma & Ba 2015, Adam, section 2.1
    """
    found = adequacy_of(pair)
    if found.state != "blown-up":
        return
    evidence = [Evidence("max_abs_delta", found.max_abs_delta, about="everything outside the head")]
    if found.said_lr_times_steps is not None:
        evidence.append(
            Evidence(
                "lr_times_steps", found.said_lr_times_steps, reading="logged", source="trainer_state.json"
            )
        )
    yield this.finding(
        f"Training blew up: {'; '.join(found.reasons)}. What was there before is drowned. Look first at the "
        "learning rate and the loss of the first steps.",
        evidence=tuple(evidence),
    )
