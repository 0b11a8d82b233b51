"""BP401."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.architectures import classifiers
from bitfit_probe.inference.purpose import model_class, task_of
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.adapter_files import adapter_settings
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.tensors import architecture_of, heads, is_adapter, is_delta, plain_name

__all__ = ["head_missing"]

#: Classes whose head no other tensor stands for. Language-model heads may be tied: BP412 looks at those.
_WITH_HEAD = (
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "ForMultipleChoice",
    "ForImageClassification",
    "ForAudioClassification",
    "ForNextSentencePrediction",
    "ForMaskedLM",
    "ForPreTraining",
)
_ADAPTER_TASKS = ("SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS")


@rule(
    "BP401", "head-missing", "error", explains=("BP403", "BP405", "BP205", "BP703", "BP713"), catalogue=(16,)
)
def head_missing(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The head that the architecture needs is not in the file.

    What it means
    -------------
    config.json names a class with a task head, but the tuned file has no tensor of it, or only half of it. Or
    an adapter for a classification task saved neither the head (``modules_to_save``) nor head tensors.

    Why it matters
    --------------
    The head starts at random on every load, so the model guesses, differently each time.

    How it is recognised
    --------------------
    The class in config.json (``…ForSequenceClassification`` and the like) against the head tensors in the
    file; ``task_type`` of adapter_config.json against its ``modules_to_save``. A delta file that holds biases
    only is not looked at. Whether a language-model head may be absent, BP412 says.

    What to do
    ----------
    Save the whole model, or set ``modules_to_save=["classifier"]`` (``["score"]`` for decoders) and train
    again: a head that was never saved can't be recovered.

    References
    ----------
    huggingface/peft#876, huggingface/peft#602, UKPLab/sentence-transformers#3980,
    huggingface/transformers#26160
    """
    if is_adapter(pair.tuned):
        yield from _adapter(pair, this)
        return
    if is_delta(pair) or task_of(pair.tuned.config) not in _WITH_HEAD:
        return
    there = [plain_name(name) for name in heads(pair)]
    missing, wanted = _missing(pair, there), model_class(pair.tuned.config)
    if missing is None:
        return
    if there:
        message = f"The head of {wanted} is incomplete: '{missing}' is absent"
    else:
        message = f"config.json asks for {wanted}, but the file holds no tensor of its head"
    yield this.finding(
        f"{message}; loading starts it at random.",
        subjects=(missing,) if missing else (),
        evidence=(Evidence("head_tensors", len(there), "tensors"),),
        advice="Save the model with its head; a head that was never saved has to be trained again.",
    )


def _missing(pair: Pair, there: list[str]) -> str | None:
    """What is not there of the head, empty for all of it; None where it is complete."""
    if not there:
        return ""
    own = architecture_of(pair).classifier
    known = (own,) if own is not None else classifiers()
    steps = [each.layers for each in known if len(each.layers) > 1]
    for first, last in steps if task_of(pair.tuned.config) == "ForSequenceClassification" else ():
        begun = any(f".{name}".rpartition(f".{first}.")[1] for name in there)
        if begun and not any(f".{name}".rpartition(f".{last}.")[1] for name in there):
            return last
    return None


def _adapter(pair: Pair, this: Rule) -> Iterator[Finding]:
    settings = adapter_settings(pair.tuned)
    task = settings.get("task_type")
    kept = settings.get("modules_to_save")
    saved = [name for name in pair.tuned.tensors if _is_head(name) and ".lora_" not in name]
    touched = any(_is_head(name) for name in pair.tuned.tensors)
    if task in _ADAPTER_TASKS and not kept and not saved and not touched:
        yield this.finding(
            f"The adapter is for {task} with modules_to_save empty, and holds no head: the head that it was "
            "trained with is lost, and each load draws a new one.",
            subjects=("adapter_config.json",),
            evidence=(Evidence("head_tensors", 0, "tensors"),),
            advice='Train again with modules_to_save=["classifier"] (or ["score"]).',
        )


def _is_head(name: str) -> bool:
    return any(
        part in ("classifier", "score", "qa_outputs", "classification_head") for part in name.split(".")
    )
