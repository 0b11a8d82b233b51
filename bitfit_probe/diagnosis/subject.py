"""The model under examination: its examples, and one pass over them for each state that is tried."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bitfit_probe.data import TaskData
from bitfit_probe.diagnosis.fitting import (
    LinearHead,
    Split,
    cross_fitted,
    fit_head,
    fit_regression,
    splits_of,
)
from bitfit_probe.diagnosis.outcomes import (
    Outcome,
    outcome_of_logits,
    outcome_of_losses,
    outcome_of_similarities,
)
from bitfit_probe.errors import DataError
from bitfit_probe.inference import LiveModel, Question, ask, question_of
from bitfit_probe.inference.answers import Answers, answers, head_layer, similarities
from bitfit_probe.inference.encoding import longest_text, tokens_of
from bitfit_probe.inference.weights import Window, in_type, overlaid, windows
from bitfit_probe.pair import Memo, Pair

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Rows = npt.NDArray[np.int64]

__all__ = ["Subject", "Tick"]

#: Called with the examples that went through a model since the last call.
Tick = Callable[[int], None]
#: Everything of a checkpoint but its head and its buffers.
BODY = ("bias", "embedding", "norm", "weight")


@dataclass(frozen=True, eq=False)
class Subject:
    """A tuned model, its base, and labelled examples.

    Attributes
    ----------
    pair
        The two checkpoints.
    data
        The examples that everything is judged on.
    train
        Other examples to fit on; without them each part of `data` is judged by what the rest gives.
    siblings
        Further tuned checkpoints of the same base, which may be better or worth averaging.
    tick
        Told about examples that were run.
    """

    pair: Pair
    data: TaskData
    train: TaskData | None = None
    siblings: tuple[Path, ...] = ()
    tick: Tick = lambda count: None

    @cached_property
    def _memo(self) -> Memo:
        return Memo()

    @property
    def live(self) -> LiveModel:
        """The tuned model, with the base's tokenizer where it has none of its own."""
        return self.pair.live("tuned")

    @cached_property
    def question(self) -> Question:
        """What the examples ask of it; see `question_of`."""
        return _question(self.data, self.live)

    @property
    def classifies(self) -> bool:
        """Whether answers are classes."""
        return self.question.kind == "classification"

    @property
    def compares(self) -> bool:
        """Whether the model gives vectors, and pairs of texts have a similarity."""
        return self.question.kind == "similarity"

    @property
    def predicts(self) -> bool:
        """Whether answers are classes or quantities, which a linear head could give."""
        return self.question.kind in ("classification", "regression")

    @property
    def classes(self) -> int:
        """How many answers there are."""
        return int(self.live.model.config.num_labels)

    @cached_property
    def targets(self) -> npt.NDArray[np.generic]:
        """Class numbers or quantities; empty for language models."""
        return np.asarray(self.question.labels)

    @cached_property
    def splits(self) -> list[Split]:
        """What is fitted on which rows, and judged on which.

        With examples to train on, those come after the judged ones, as in `fit_targets` and `whole`.
        """
        count = len(self.data)
        if self.train is None:
            return splits_of(self.targets, classes=self.classifies)
        return [Split(np.arange(count, count + len(self.train)), np.arange(count))]

    @property
    def fit_rows(self) -> Rows:
        """Every example that may be fitted on: those to train on, or else all."""
        return np.unique(np.concatenate([split.fit for split in self.splits]))

    @cached_property
    def fit_targets(self) -> npt.NDArray[np.generic]:
        """`targets`, and behind them those of the examples to train on."""
        if self.train is None:
            return self.targets
        return np.concatenate([self.targets, np.asarray(_question(self.train, self.live).labels)])

    @cached_property
    def tokens(self) -> list[list[int]]:
        """Each text (and pair) in tokens, as far as the model's positions reach."""
        return tokens_of(self.data, self.live.tokenizer, longest_text(self.live.model, None))["input_ids"]

    # Passes ---------------------------------------------------------------------------------------

    def once(self, state: str, make: Callable[[], Any]) -> Any:
        """What was worked out for a state of the model, kept."""
        return self._memo.once(state, make)

    @property
    def tuned(self) -> Answers:
        """The tuned model's answers to `data`, and behind them to `train`."""
        found: Answers = self.once("tuned", lambda: self.whole())
        return found

    @property
    def base_body(self) -> Answers:
        """The same with the base's values in the body; the head is the tuned one's."""

        def run() -> Answers:
            with overlaid(self.moved(1.0)):
                return self.whole()

        found: Answers = self.once("base body", run)
        return found

    def whole(self) -> Answers:
        """One pass over `data` and `train` with the weights as they are."""
        judged = self.run()
        if self.train is None or not self.predicts:
            return judged
        asked = _question(self.train, self.live)
        other = answers(self.live, asked, ask(self.live, asked, self.train), self.tick)
        return _joined(judged, other)

    def run(
        self, rows: Rows | None = None, live: LiveModel | None = None, data: TaskData | None = None
    ) -> Answers:
        """One pass over some of the examples (or all).

        Parameters
        ----------
        rows
            Their numbers.
        live
            A model in place of the tuned one.
        data
            The same examples in other words.
        """
        if self.compares:
            asked = data or self.data
            return similarities(
                live or self.live, asked if rows is None else asked.take(list(map(int, rows))), self.tick
            )
        which = None if rows is None else [int(row) for row in rows]
        if live is None and data is None:
            name = "batches" if which is None else f"batches {hash(tuple(which))}"
            batches = self.once(name, lambda: ask(self.live, self.question, self.data, which))
        else:
            batches = ask(live or self.live, self.question, data or self.data, which)
        return answers(live or self.live, self.question, batches, self.tick)

    def outcome(self, found: Answers, rows: Rows | None = None) -> Outcome:
        """What answers to these rows of `data` (or all) are worth."""
        if self.question.kind in ("causal-lm", "masked-lm"):
            return outcome_of_losses(found.losses)
        if self.compares:
            return outcome_of_similarities(
                found.logits[:, 0], self.targets if rows is None else self.targets[rows]
            )
        targets = self.targets if rows is None else self.targets[rows]
        return outcome_of_logits(self.question, found.logits[: len(targets)], targets)

    @cached_property
    def half(self) -> str | None:
        """The half-precision type that most weights are stored in; None where that is none."""
        sizes: dict[str, int] = {}
        for tensor in self.pair.tuned.tensors.values():
            sizes[tensor.dtype.name] = sizes.get(tensor.dtype.name, 0) + tensor.size
        most = max(sizes, key=lambda name: sizes[name])
        return most if most in ("float16", "bfloat16") else None

    @property
    def served(self) -> Answers:
        """The answers that users get: in the stored element type, which is what transformers loads."""
        if self.half is None:
            return self.tuned

        def run() -> Answers:
            with in_type(self.live.model, self.half or ""):
                return self.run()

        found: Answers = self.once("served", run)
        return found

    @property
    def before(self) -> Outcome:
        """What the answers that users get are worth."""
        found: Outcome = self.once("before", lambda: self.outcome(self.served))
        return found

    # Weights --------------------------------------------------------------------------------------

    @cached_property
    def windows(self) -> dict[tuple[str, str | None], Window]:
        """The base's values for the tuned model's body, by its name and part; none of another model."""
        if not self.pair.compared:
            return {}
        return windows(self.pair.base, self.live.model, BODY)

    def moved(self, share: float, names: Sequence[tuple[str, str | None]] | None = None) -> list[Window]:
        """Windows that take the body this share of the way back to the base; 1 is the base, −0.5 goes on."""
        chosen = self.windows if names is None else {name: self.windows[name] for name in names}
        found = [window for window in chosen.values() if window.differs]
        if share == 1:
            return found
        return [
            replace(window, values=window.view + share * (window.values - window.view)) for window in found
        ]

    def tensors_of(self, found: Sequence[Window]) -> dict[str, npt.NDArray[Any]]:
        """Whole parameters of the model, by name, as they are with these windows laid over them."""
        with overlaid(found):
            return {
                window.parameter: self.live.model.get_parameter(window.parameter).detach().numpy().copy()
                for window in found
            }

    # Heads ----------------------------------------------------------------------------------------

    @cached_property
    def head(self) -> LinearHead | None:
        """The last layer of the tuned head; None where there is none, or it was drawn at random."""
        layer = head_layer(self.live.model)
        if layer is None or any(name.startswith(f"{layer[0]}.") for name in self.live.missing):
            return None
        weight = layer[1].weight.detach().double().numpy()
        bias = layer[1].bias
        return LinearHead(weight, np.zeros(len(weight)) if bias is None else bias.detach().double().numpy())

    def fit(
        self, features: npt.NDArray[np.floating], rows: Rows, old: LinearHead | None = None
    ) -> LinearHead:
        """A linear head on the features of these rows of `data` and `train`."""
        targets = self.fit_targets[rows]
        if self.classifies:
            return fit_head(features[rows], targets.astype(np.int64), self.classes, old)
        return fit_regression(features[rows], targets.astype(np.float64))

    def cross_fit(
        self, features: npt.NDArray[np.floating], old: LinearHead | None = None
    ) -> npt.NDArray[np.float64]:
        """Logits for `data` of a head that is fitted on other examples."""
        return cross_fitted(
            self.splits, len(self.data), lambda fit, judge: self.fit(features, fit, old)(features[judge])
        )


def _question(data: TaskData, live: LiveModel) -> Question:
    """What the examples ask; labels that are not the model's are numbered in their order, with a note."""
    if live.purpose == "features" and data.pairs is not None and data.labels is not None:
        return Question("similarity", data.quantities(), notes=data.notes)
    try:
        return question_of(data, live, drawn=True)
    except DataError:
        unknown = data.labels is not None and data.task == "classification" and live.purpose == "classify"
        if not unknown or len(data.label_names) > live.model.config.num_labels:
            raise
    note = "the labels are not the names that the model knows: they were numbered in alphabetical order"
    numbers = tuple(int(label) for label in data.labels or ())
    return Question("classification", numbers, notes=(*data.notes, note))


def _joined(one: Answers, other: Answers) -> Answers:
    both = zip(vars(one).values(), vars(other).values(), strict=True)
    return Answers(*(np.concatenate([mine, theirs]) for mine, theirs in both))
