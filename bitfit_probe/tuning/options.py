"""What a run is asked to do, and what it does where nothing is asked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

from bitfit_probe.errors import SettingsError

__all__ = [
    "ENOUGH_STEPS",
    "FEW_STEPS",
    "LEARNING_RATES",
    "Method",
    "Objective",
    "SignKind",
    "TuneOptions",
    "enough_passes",
]

Method = Literal["bitfit", "lora", "full", "head"]
Objective = Literal["classify", "regress", "masked-lm", "causal-lm"]
#: What a run is watched for (`bitfit_probe.tuning.watch`).
SignKind = Literal[
    "frozen-bias", "still-bias", "moving-matrix", "tampered", "learning-rate-too-low", "blow-up", "nan"
]

#: Peak learning rates of AdamW with linear decay.
#:
#: - bitfit: Ben Zaken et al. 2022 searched 1e-4 … 1e-3 and published runs lie between 1e-4 and 1e-2, most of
#:   them at 5e-4 … 1e-3, on BERT-base and larger. In short runs of a small model (MiniLM) 5e-3, the highest
#:   rate tried, was the best on 8 of 12 tasks. 3e-3 lies between the two.
#: - full: 1e-5 … 5e-5 (Devlin et al. 2019, appendix A.3; Ben Zaken et al. 2022), the upper end because
#:   runs here are short.
#: - lora: about ten times the rate of full fine-tuning.
#: - head: a linear classifier, whose loss is convex. Pooled features vary little (MiniLM's by 0.05), so that
#:   a rate of 5e-3 is far from done after 150 steps.
LEARNING_RATES: Mapping[str, float] = {"bitfit": 3e-3, "lora": 5e-4, "full": 5e-5, "head": 3e-2}

#: What the runs behind the recommendation had at least. Runs of 100 and 160 steps scored as high on average,
#: but methods did not differ in them as they do in longer ones (docs/validation.md).
ENOUGH_STEPS = 300
#: The fewest that were tried there.
FEW_STEPS = 100
#: Passes over data that are large enough to give those steps.
_USUAL_EPOCHS = 8
#: Share of the epochs without a lower held-out loss after which a run stops.
_PATIENCE = 3 / 8
#: Held-out examples from which on they choose an epoch. Where examples are few the loss is lowest early,
#: while the accuracy goes on to rise. An accuracy among 50 has a standard error of up to 7 points. A
#: convention.
_ENOUGH_HELD_OUT = 50


#: What run cards, whose keys stay, call a field by another name.
_IN_CARDS = {
    "batch_size": "batch",
    "warmup_ratio": "warmup",
    "eval_split": "held_out",
    "lora_r": "rank",
    "lora_alpha": "alpha",
}
#: How a run is carried out does not change what comes out.
_NOT_IN_CARDS = frozenset({"resume", "cpu", "stop_on", "callbacks", "log_to"})


@dataclass(frozen=True)
class TuneOptions:
    """What `tune` is asked: the hyper-parameters of a run, and how it is carried out.

    Attributes
    ----------
    method
        ``bitfit`` (biases and a new head), ``lora``, ``full``, or ``head`` (a frozen body).
    roles
        Only biases (with LoRA: matrices) of these roles, such as ``("q", "m2")``; all where empty.
    norms
        With ``bitfit``: the scales of norms as well.
    objective
        None: ``classify`` or ``regress`` where there are labels, else the model's kind of language model.
    learning_rate
        Peak rate; None for the method's own (`LEARNING_RATES`).
    search
        Try three learning rates for a quarter of the epochs first, and more where the best is at the edge.
    epochs
        Passes over the data; None for 8, and more where the data are so few that this would be less than
        `ENOUGH_STEPS` steps.
    batch_size, max_length
        Examples a step; tokens after which texts are cut.
    warmup_ratio
        Share of the steps in which the rate rises.
    class_weights
        Weigh each class by n / (classes · its count), so that rare classes count as much as frequent ones.
    eval_split
        Share of the examples that are not trained on but judge each epoch; 0 for none.
    patience
        Stop after so many epochs without a lower held-out loss (0 never), and keep the best epoch's weights.
        None: after three eighths of the epochs where at least 50 examples are held out; fewer can't tell
        epochs apart, so that all are trained and the last is kept.
    lora_r, lora_alpha
        LoRA's r and α (Hu et al. 2022); α None is 2r.
    dtype
        Element type of the resting parameters; the trained ones are float32 whatever it is.
    seed
        Of the new head, the split, the order of examples and dropout.
    merge
        With ``lora``: write the merged model instead of the adapter.
    resume
        Go on with a run that was interrupted, or take a finished one as it is.
    cpu
        Leave a GPU alone.
    stop_on
        Kinds of signs that end the training early (`bitfit_probe.tuning.watch.Sign`).
    callbacks
        Callbacks of transformers.
    log_to
        What transformers logs to, such as ``("tensorboard",)``.
    """

    method: Method = "bitfit"
    roles: tuple[str, ...] = ()
    norms: bool = False
    objective: Objective | None = None
    learning_rate: float | None = None
    search: bool = False
    epochs: int | None = None
    batch_size: int = 32
    max_length: int = 128
    warmup_ratio: float = 0.06
    class_weights: bool = False
    eval_split: float = 0.1
    patience: int | None = None
    lora_r: int = 8
    lora_alpha: int | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    seed: int = 0
    merge: bool = False
    resume: bool = False
    cpu: bool = False
    stop_on: tuple[SignKind, ...] = ()
    callbacks: tuple[Any, ...] = ()
    log_to: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for complaint, advice, wrong in self._complaints():
            if wrong:
                raise SettingsError(complaint, advice=advice)

    def _complaints(self) -> tuple[tuple[str, str, bool], ...]:
        rate = self.learning_rate
        return (
            (
                f"{self.method!r} is no method",
                "choose bitfit, lora, full or head",
                self.method not in get_args(Method),
            ),
            (
                f"roles can't be chosen for {self.method}",
                "use them with bitfit or lora",
                bool(self.roles) and self.method in ("full", "head"),
            ),
            (
                f"norm scales are no part of {self.method}",
                "use norms with bitfit",
                self.norms and self.method != "bitfit",
            ),
            ("the learning rate must be above 0", "give one", rate is not None and not rate > 0),
            (
                "epochs, batch_size, lora_r and max_length must be at least 1",
                "give whole numbers",
                min(1 if self.epochs is None else self.epochs, self.batch_size, self.lora_r, self.max_length)
                < 1,
            ),
            (
                "warmup_ratio and eval_split are shares",
                "give numbers from 0 to below 1",
                not (0 <= self.warmup_ratio < 1 and 0 <= self.eval_split < 1),
            ),
            (
                "a search needs held-out examples to judge by",
                "set eval_split above 0",
                self.search and not self.eval_split,
            ),
        )

    @property
    def rate(self) -> float:
        """The learning rate that is used."""
        return LEARNING_RATES[self.method] if self.learning_rate is None else self.learning_rate

    def as_dict(self) -> dict[str, Any]:
        """What decides the result, by the names of a run card, with the learning rate that is used."""
        names = [field.name for field in fields(self) if field.name not in _NOT_IN_CARDS]
        values = {_IN_CARDS.get(name, name): getattr(self, name) for name in names}
        return values | {"roles": list(self.roles), "learning_rate": self.rate}

    def passes(self, examples: int) -> int:
        """Epochs of a run on so many examples."""
        if self.epochs is not None:
            return self.epochs
        return enough_passes(examples, self.batch_size, ENOUGH_STEPS, _USUAL_EPOCHS)

    def on(self, examples: int, held_out: int) -> TuneOptions:
        """The same with the epochs and the patience of a run on so many examples."""
        epochs, patience = self.passes(examples), self.patience
        if patience is None and held_out >= _ENOUGH_HELD_OUT:
            patience = math.ceil(_PATIENCE * epochs)
        return replace(self, epochs=epochs, patience=patience)

    def at(self, rate: float) -> TuneOptions:
        """The same at another learning rate, searched for no more."""
        return replace(self, learning_rate=rate, search=False)


def enough_passes(examples: int, batch: int, steps: int, least: int) -> int:
    """As many passes over the examples as give so many steps, and no fewer than `least`."""
    return max(least, math.ceil(steps / math.ceil(examples / batch)))
