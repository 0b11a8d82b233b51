"""BP210."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import CannotTell, Rule, rule
from bitfit_probe.rules.run_logs import trainer_state
from bitfit_probe.wording import plural

__all__ = ["best_not_saved"]

#: The lowest held-out loss must be lower than the saved step's by this share to be worth a word.
WORTH = 0.05


@rule("BP210", "best-not-saved", "info", needs=("comparison", "trainer-state"))
def best_not_saved(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The step with the best evaluation lies in no checkpoint folder.

    What it means
    -------------
    Checkpoints were saved at other steps than the best evaluation's, or the best one was rotated out.

    Why it matters
    --------------
    The best weights of the run are gone; the nearest that is left is worse.

    How it is recognised
    --------------------
    The lowest `eval_loss` in trainer_state.json belongs to a step for which there is no checkpoint-* folder
    although there are others, it is not the last step, and no best checkpoint was loaded at the end.

    What to do
    ----------
    Save whenever you evaluate (`save_steps` equal to `eval_steps`) and raise `save_total_limit`.

    References
    ----------
    huggingface/transformers#19241
    """
    state = trainer_state(pair)
    losses = state.eval_losses
    home = pair.tuned.folder
    runs = home.parent if home.name.startswith("checkpoint-") else home
    saved = sorted(path.name for path in runs.glob("checkpoint-*") if path.is_dir())
    if not losses or not saved:
        raise CannotTell("no log of evaluations beside checkpoint-* folders")
    step, best = min(losses, key=lambda item: item[1])
    last_step, last = losses[-1]
    kept = state.best_checkpoint == f"checkpoint-{step}"
    if kept or step == last_step or f"checkpoint-{step:.0f}" in saved or best > (1 - WORTH) * last:
        return
    yield this.finding(
        f"The best evaluation, at step {step:,.0f} (loss {best:.3g}, at the end {last:.3g}), was not saved: "
        f"there are only {plural(len(saved), 'checkpoint')} of other steps.",
        subjects=tuple(saved),
        evidence=(
            Evidence("eval_loss", best, "nats", about=f"step {step:.0f}", source="trainer_state.json"),
            Evidence("eval_loss", last, "nats", about=f"step {last_step:.0f}", source="trainer_state.json"),
        ),
    )
