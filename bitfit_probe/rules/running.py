"""Cheap passes of the model over a few of the examples of --data; only here do rules run a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bitfit_probe.checkpoint import Checkpoint, Tensor
from bitfit_probe.errors import ModelError
from bitfit_probe.pair import Pair, Side, load_frozen
from bitfit_probe.rules.engine.rule import CannotTell

if TYPE_CHECKING:
    import numpy.typing as npt

    from bitfit_probe.data import TaskData
    from bitfit_probe.inference import Loaded, Purpose

__all__ = [
    "examples",
    "language_loss",
    "live",
    "lm_purpose",
    "logits",
    "longest",
    "purpose_of",
    "tokenizer",
    "told",
    "with_tuned_body",
]

#: Examples to run, and tokens of each: enough to see collapse or forgetting, a second or two of work.
_EXAMPLES, _TOKENS, _BATCH = 64, 128, 16
#: The share of tokens that is masked, as in BERT's pretraining.
_MASKED = 0.15


def examples(pair: Pair) -> TaskData:
    """At most 64 of the examples, for rules that need them."""
    assert pair.data is not None
    return pair.data.sample(_EXAMPLES)


def live(pair: Pair, side: Side, purpose: Purpose) -> Loaded:
    """One of the two as transformers loads it, without gradients.

    Raises
    ------
    CannotTell
        It does not load.
    """
    try:
        return pair.live(side, purpose)
    except ModelError as error:
        raise CannotTell(f"the model could not be run: {error.what}") from error


def tokenizer(pair: Pair) -> Any:
    """The tokenizer beside the tuned weights, or else the base's.

    Raises
    ------
    CannotTell
        There is none.
    """
    from bitfit_probe.inference import load_tokenizer

    for side in (pair.tuned, pair.base):
        try:
            return load_tokenizer(side.folder)
        except ModelError:
            continue
    raise CannotTell("there is no tokenizer to run the model with")


@contextmanager
def told(loaded: Loaded) -> Iterator[None]:
    """Run the model offline; where it stops, the rule can't tell.

    Raises
    ------
    CannotTell
        With the reason.
    """
    from bitfit_probe.inference import running

    try:
        with running(loaded.model):
            yield
    except ModelError as error:
        raise CannotTell(f"the model could not be run: {error.what}") from error


def longest(loaded: Loaded, words: Any, most: int = _TOKENS) -> int:
    """Tokens at which texts are cut: `most`, or what tokenizer and positions allow."""
    from bitfit_probe.inference import longest_text

    with told(loaded):
        return longest_text(loaded.model, words, most)


def logits(loaded: Loaded, words: Any, data: TaskData) -> npt.NDArray[np.float64]:
    """Logits of each example, shape (examples, classes)."""
    size = 1 if words.pad_token is None else _BATCH
    with told(loaded):
        parts = [
            loaded.model(**batch).logits.double().numpy() for batch in _batches(loaded, words, data, size)
        ]
        return np.concatenate(parts)


def _batches(loaded: Loaded, words: Any, data: TaskData, size: int) -> Iterator[Any]:
    most = longest(loaded, words)
    for start in range(0, len(data), size):
        texts = list(data.texts[start : start + size])
        pairs = None if data.pairs is None else list(data.pairs[start : start + size])
        yield words(texts, pairs, truncation=True, max_length=most, padding=size > 1, return_tensors="pt")


def lm_purpose(base: Checkpoint) -> Purpose:
    """Which language-model head the base has.

    Raises
    ------
    CannotTell
        None that its config names.
    """
    classes = base.config.get("architectures")
    name = classes[0] if isinstance(classes, list) and classes and isinstance(classes[0], str) else ""
    if name.endswith(("ForMaskedLM", "ForPreTraining")):
        return "masked-lm"
    if name.endswith(("LMHeadModel", "ForCausalLM")):
        return "causal-lm"
    raise CannotTell("the base has no language-model head")


def purpose_of(checkpoint: Checkpoint) -> Purpose:
    """What the class that config.json names is for; a bare body where it names none."""
    classes = checkpoint.config.get("architectures")
    name = classes[0] if isinstance(classes, list) and classes and isinstance(classes[0], str) else ""
    if name.endswith("ForSequenceClassification"):
        return "classify"
    try:
        return lm_purpose(checkpoint)
    except CannotTell:
        return "features"


def with_tuned_body(pair: Pair, purpose: Purpose) -> Loaded:
    """The base with the tuned side's body in place of its own; its head stays.

    Raises
    ------
    CannotTell
        It does not load.
    """
    tensors: dict[str, Tensor] = dict(pair.base.tensors)
    for match in pair.alignment.pairs:
        whole = match.part is None and match.base.shape == pair.base.tensors[match.base.name].shape
        if whole and match.info.kind not in ("head", "buffer"):
            tensors[match.base.name] = replace(match.tuned, name=match.base.name)
    try:
        return load_frozen(replace(pair.base, tensors=tensors), purpose)
    except ModelError as error:
        raise CannotTell(f"the model could not be run: {error.what}") from error


def language_loss(loaded: Loaded, words: Any, texts: Sequence[str], purpose: Purpose) -> float:
    """Mean loss in nats a predicted token; the same tokens are masked at every call.

    Raises
    ------
    CannotTell
        There is no token to predict.
    """
    random, total, count = np.random.default_rng(0), 0.0, 0
    if purpose == "masked-lm" and words.mask_token_id is None:
        raise CannotTell("the tokenizer has no mask token")
    special, most = set(words.all_special_ids), longest(loaded, words)
    for text in texts:
        with told(loaded):
            coded = words(text, truncation=True, max_length=most, return_tensors="pt")
        ids = coded["input_ids"]
        truth = np.array(ids[0].tolist())
        if purpose == "masked-lm":
            chosen = ~np.isin(truth, list(special)) & (random.random(len(truth)) < _MASKED)
            mask = ids.new_tensor(chosen[None].tolist()).bool()
            coded["input_ids"] = ids.masked_fill(mask, words.mask_token_id)
        else:
            chosen = np.arange(len(truth)) > 0
        at = np.flatnonzero(chosen)
        if not len(at):
            continue
        with told(loaded):
            scores = loaded.model(**coded).logits[0].double().numpy()
        # A causal model's score of a token stands one place before it.
        total += float(np.sum(_surprise(scores[at - (purpose == "causal-lm")], truth[at])))
        count += len(at)
    if not count:
        raise CannotTell("the examples are too short to measure a loss on")
    return total / count


def _surprise(scores: npt.NDArray[np.float64], truth: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """−log softmax of the true tokens, shapes (tokens, vocabulary) and (tokens,)."""
    top = scores.max(axis=1)
    norm: npt.NDArray[np.float64] = top + np.log(np.sum(np.exp(scores - top[:, None]), axis=1))
    return norm - scores[np.arange(len(truth)), truth]
