"""BP405."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.checkpoint.interface import read_json
from bitfit_probe.inference.purpose import POOLED_TASKS, model_class, task_of
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.tensors import architecture_of, is_adapter, is_delta, plain_name

__all__ = ["pooler_missing"]


@rule("BP405", "pooler-missing", "error", explains=("BP713",), catalogue=(20,))
def pooler_missing(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The pooler is gone although the model's output goes through it.

    What it means
    -------------
    The base has a pooler (the dense layer over the first token), the tuned file has none.

    Why it matters
    --------------
    Classifiers of BERT and readers of ``pooler_output`` get a random projection of the trained features.

    How it is recognised
    --------------------
    A pooler in the base only, and a class that reads it: sequence classification, multiple choice and next
    sentence prediction with BERT-like bodies (an error); a bare encoder, whose ``pooler_output`` some readers
    take and others don't (a warning, silent where sentence-transformers' settings say that it averages
    tokens). Classes that read no pooler are left alone; BP703 looks where the base has none either.

    What to do
    ----------
    Save the pooler, or read the first token or the mean instead of ``pooler_output``.

    References
    ----------
    princeton-nlp/SimCSE#194
    """
    if is_adapter(pair.tuned) or is_delta(pair):
        return
    ours = [
        item.name
        for item in pair.comparison.unmatched_base
        if item.info.role == "pooler" and item.why == "absent"
    ]
    task, architecture = task_of(pair.tuned.config), architecture_of(pair)
    theirs = any(
        architecture.info(plain_name(name), len(tensor.shape)).role == "pooler"
        for name, tensor in pair.tuned.tensors.items()
    )
    if not ours or theirs:
        return
    # Families whose classifier reads no pooler have a dense layer in it, or take the first token itself.
    classifier = architecture.classifier
    reads = task in POOLED_TASKS and classifier is not None and classifier.pooler is not None
    bare = task == "Model" and not _averages(pair.tuned)
    if not reads and not bare:
        return
    whose = model_class(pair.tuned.config)
    effect = (
        "reads it, so its input is random" if reads else "offers it as pooler_output, which would be random"
    )
    yield this.finding(
        f"The pooler ('{ours[0]}' and {len(ours) - 1} more in the base) is missing, and {whose} {effect}.",
        severity="error" if reads else "warning",
        subjects=tuple(ours),
        evidence=(Evidence("pooler_tensors_missing", len(ours), "tensors"),),
        advice="Save the pooler as well, or read the first token or the mean of all instead.",
    )


def _averages(tuned: Checkpoint) -> bool:
    """Whether sentence-transformers' pooling settings beside the model say that no pooler is read."""
    folder: Path = tuned.folder
    try:
        settings = [read_json(path) for path in folder.glob("*_Pooling/config.json")]
    except OSError:
        return False
    return any(any(key.startswith("pooling_mode") for key in found or {}) for found in settings)
