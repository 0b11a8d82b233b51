"""BP206."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.checkpoint import Checkpoint, open_checkpoint
from bitfit_probe.errors import BitfitProbeError
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import CannotTell, Rule, rule
from bitfit_probe.rules.run_logs import trainer_state
from bitfit_probe.rules.samples import differing

__all__ = ["not_the_best"]


@rule(
    "BP206",
    "not-the-best",
    "warning",
    needs=("comparison", "trainer-state"),
    explains=("BP208",),
    catalogue=(44,),
)
def not_the_best(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The trainer's best checkpoint is another one.

    What it means
    -------------
    trainer_state.json names a best checkpoint, and the weights here are those of another step, most often
    the last. `load_best_model_at_end` was off, or the folder was saved before the best weights came back.

    Why it matters
    --------------
    The model that is served is not the one whose score was reported.

    How it is recognised
    --------------------
    The folder's weights are compared with those in its checkpoint-* folders; where one matches it is not
    the one named in `best_model_checkpoint`. A checkpoint-* folder itself is compared by its number.

    What to do
    ----------
    Deploy the best checkpoint, or train with `load_best_model_at_end=True` and save after training.

    References
    ----------
    huggingface/transformers#11931, huggingface/transformers#19241
    """
    state = trainer_state(pair)
    wanted = state.best_checkpoint
    if wanted is None:
        raise CannotTell("trainer_state.json names no best checkpoint")
    here = _which(pair.tuned)
    if here is None or here == wanted:
        return
    evidence = [
        Evidence("best_checkpoint", wanted, source="trainer_state.json"),
        Evidence("this_checkpoint", here, source="its weights"),
    ]
    if state.best_metric is not None:
        evidence.append(Evidence("best_metric", state.best_metric, about=wanted, source="trainer_state.json"))
    yield this.finding(
        f"These are the weights of {here}, but the trainer's best checkpoint is {wanted}.",
        subjects=(here, wanted),
        evidence=tuple(evidence),
    )


def _which(tuned: Checkpoint) -> str | None:
    """The name of the checkpoint folder that holds the same weights as `tuned`."""
    if tuned.folder.name.startswith("checkpoint-"):
        return tuned.folder.name
    inner = sorted(path for path in tuned.folder.glob("checkpoint-*") if path.is_dir())
    for folder in inner:
        try:
            if not differing(open_checkpoint(folder), tuned):
                return folder.name
        except BitfitProbeError:
            continue
    return None
