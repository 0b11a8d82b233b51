"""BP208."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import CannotTell, Rule, rule
from bitfit_probe.rules.run_logs import trainer_state

__all__ = ["overtrained"]

#: A held-out loss this far above its best; the embedded sample ends at its best, and wavers by up to 1.23
#: on the way; the runs of benchmarks/healthy.py end within 1.002 of it.
RISE = 1.25
#: … with the best in this first part of the evaluations.
EARLY = 0.7
#: With an accuracy logged, this many points must be lost too: loss alone rises through overconfidence.
POINTS_LOST = 0.01


@rule("BP208", "over-trained", "warning", needs=("comparison", "trainer-state"))
def overtrained(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The loss on held-out examples was best long before the end, and has risen since.

    What it means
    -------------
    Training went on after the model stopped getting better on examples that it is not trained on.

    Why it matters
    --------------
    What was saved is worse on new text than what could have been saved.

    How it is recognised
    --------------------
    In trainer_state.json the lowest `eval_loss` lies in the first 70 % of the evaluations and the last one
    is at least 1.25 times as high; where `eval_accuracy` is logged, it must have fallen by a point as well.

    What to do
    ----------
    Save at each evaluation and keep the best (`load_best_model_at_end=True`), stop early, or lower the
    learning rate.

    References
    ----------
    Prechelt 1998, Early stopping – but when?
    """
    state = trainer_state(pair)
    losses = state.eval_losses
    if len(losses) < 3:
        raise CannotTell("trainer_state.json logs fewer than three evaluations")
    best_at = min(range(len(losses)), key=lambda at: losses[at][1])
    (best_step, best), (last_step, last) = losses[best_at], losses[-1]
    accuracies = [value for _, value in state.eval_accuracies]
    lost = max(accuracies) - accuracies[-1] if accuracies else None
    kept = state.best_checkpoint is not None
    worse = last >= RISE * best > 0 and best_at < EARLY * (len(losses) - 1)
    if not worse or (lost is not None and lost < POINTS_LOST):
        return
    evidence = [
        Evidence("eval_loss", best, "nats", about=f"step {best_step:.0f}", source="trainer_state.json"),
        Evidence("eval_loss", last, "nats", about=f"step {last_step:.0f}", source="trainer_state.json"),
    ]
    if lost is not None:
        evidence.append(Evidence("eval_accuracy_lost", lost, "share", source="trainer_state.json"))
    yield this.finding(
        f"Trained too long: the held-out loss was best at step {best_step:,.0f} ({best:.3g}) and is "
        f"{last:.3g} "
        f"at step {last_step:,.0f}.",
        severity="info" if kept else "warning",
        subjects=("trainer_state.json",),
        evidence=tuple(evidence),
    )
