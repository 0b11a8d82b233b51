"""Which biases matter: an ablation puts a group back to the base's values and sees what the model loses.

Size is not importance: the orders by size and by other scores disagree (arXiv 2509.15974). So importance is
measured, by one forward pass a group over the same examples, paired with that of the tuned model.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.data import TaskData
from bitfit_probe.errors import ModelError
from bitfit_probe.inference import Asked, LiveModel, Question, ask, logits_of, question_of
from bitfit_probe.inference.weights import Window, overlaid, windows
from bitfit_probe.measures.groups import grouped
from bitfit_probe.measures.intervals import Look, looks, mean_interval, share_interval
from bitfit_probe.records import Comparison
from bitfit_probe.records.measures import By, Group, Revert, Reverting
from bitfit_probe.records.options import RevertOptions

if TYPE_CHECKING:
    import torch

__all__ = ["Experiment", "Progress", "ablate"]

#: Told about batches done and to do.
Progress = Callable[[int, int], None]

#: Decides which examples the first looks take.
_SEED = 1


def ablate(
    live: LiveModel,
    base: Checkpoint,
    comparison: Comparison,
    data: TaskData,
    options: RevertOptions,
    *,
    progress: Progress | None = None,
) -> Reverting:
    """Measure how much the tuned model needs each group of its biases.

    Parameters
    ----------
    live
        The tuned model.
    base, comparison
        The base and what moved between them.
    data
        Examples, labelled for a classifier or a regression; texts are enough for a language model.
    options
        Which biases go back as one (the head's never do), and when a group is free. There is no correction
        of `confidence` for the number of groups. A group is stopped at a quarter or half of the examples
        where its interval already decides, unless `early_stop` is off.
    progress
        Told about batches done and to do.

    Raises
    ------
    DataError
        The labels are not this model's.
    ModelError
        The model lacks its head or a tokenizer, or gives no finite loss.
    """
    question = question_of(data, live)
    biases = windows(base, live.model, ("bias",))
    members = [
        (group, [bias for row in rows if (bias := biases.get((row.name, row.part)))])
        for group, rows in grouped(comparison, options.by)
    ]
    plan = looks(len(data), options.confidence, early_stop=options.early_stop)
    parts = _parts(live, question, data, plan)
    experiment = Experiment(live.model, question, parts, plan, options.tolerance, progress)
    return experiment.run(options.by, members, options.confidence)


def _parts(live: LiveModel, question: Question, data: TaskData, plan: Sequence[Look]) -> list[list[Asked]]:
    """For each look the batches that it adds: the looks see random examples, not the file's first ones."""
    order = random.Random(_SEED).sample(range(len(data)), len(data))
    ends = [0, *(look.examples for look in plan)]
    return [ask(live, question, data, order[start:stop]) for start, stop in itertools.pairwise(ends)]


@dataclass
class _Answers:
    """What the model said to a batch."""

    losses: torch.Tensor
    right: torch.Tensor | None
    logits: torch.Tensor


@dataclass
class _Seen:
    """Paired differences so far."""

    losses: list[Any]
    lost: int = 0
    won: int = 0
    logit_change: float = 0.0

    def add(self, before: _Answers, after: _Answers) -> None:
        self.losses.append((after.losses - before.losses).double().numpy())
        change = (after.logits - before.logits).abs().max() if after.logits.numel() else 0.0
        self.logit_change = max(self.logit_change, float(change))
        if before.right is not None and after.right is not None:
            self.lost += int((before.right & ~after.right).sum())
            self.won += int((~before.right & after.right).sum())


class Experiment:
    """The tuned model's answers, against which each group is measured.

    Parameters
    ----------
    model
        In evaluation mode, with the tuned values; it has them again after every call.
    question
        What is asked.
    parts
        For each look the batches that it adds.
    plan
        The looks.
    tolerance
        The rise of the loss that is taken for none.
    progress
        Told about batches done and to do.
    """

    def __init__(
        self,
        model: Any,
        question: Question,
        parts: Sequence[Sequence[Asked]],
        plan: Sequence[Look],
        tolerance: float,
        progress: Progress | None = None,
    ) -> None:
        self._model, self._question = model, question
        self._parts, self._plan, self._tolerance = parts, plan, tolerance
        self._progress, self._done, self._total = progress, 0, 0
        self._passes = sum(map(len, parts))
        self._tuned: list[list[_Answers]] = []

    def run(self, by: By, members: Sequence[tuple[Group, Sequence[Window]]], confidence: float) -> Reverting:
        """Measure every group, then the free ones together."""
        moving = [biases for _, biases in members if any(bias.differs for bias in biases)]
        self._total = (len(moving) + 2) * self._passes
        self._tuned = [[self._answer(batch) for batch in part] for part in self._parts]
        losses = np.concatenate([a.losses.double().numpy() for part in self._tuned for a in part])
        if not np.isfinite(losses).all():
            raise ModelError("the tuned model's loss is not finite", advice="check its weights for NaN")
        rows = [self.put_back(group, biases) for group, biases in members]
        spare = [
            (group, biases)
            for (group, biases), row in zip(members, rows, strict=True)
            if row.free or group.no_effect
        ]
        together = self._together(spare) if len(spare) > 1 else None
        self._report(self._total)
        right = [a.right for part in self._tuned for a in part if a.right is not None]
        return Reverting(
            by=by,
            loss=float(losses.mean()),
            accuracy=sum(int(r.sum()) for r in right) / len(losses) if right else None,
            confidence=confidence,
            tolerance=self._tolerance,
            rows=tuple(sorted(rows, key=lambda row: (row.group.no_effect, -row.loss_change))),
            examples=len(losses),
            unit=self._question.unit,
            together=together,
            notes=self._question.notes,
        )

    def put_back(self, group: Group, biases: Sequence[Window]) -> Revert:
        """Measure one group, and stop at the first look that decides."""
        if not any(bias.differs for bias in biases):
            return self._unchanged(group)
        with overlaid(biases):
            started = self._done
            for look, seen in self._looked():
                row = self._row(group, seen, look)
                if row.free or row.matters:
                    break
        self._report(started + self._passes)
        return row

    def _together(self, spare: Sequence[tuple[Group, Sequence[Window]]]) -> Revert:
        names = tuple(name for group, _ in spare for name in group.names)
        whole = Group(None, None, None, names, sum(group.elements for group, _ in spare))
        return self.put_back(whole, [bias for _, biases in spare for bias in biases])

    def _looked(self) -> Iterator[tuple[Look, _Seen]]:
        seen = _Seen([])
        for look, part, before in zip(self._plan, self._parts, self._tuned, strict=True):
            for batch, answers in zip(part, before, strict=True):
                seen.add(answers, self._answer(batch))
            yield look, seen

    def _answer(self, batch: Asked) -> _Answers:
        import torch

        with torch.inference_mode():
            logits = logits_of(self._model, batch)
            asked = self._question
            answers = _Answers(
                asked.losses(logits, batch.targets),
                asked.right(logits, batch.targets),
                asked.answers(logits, batch.targets).clone(),
            )
        self._report(self._done + 1)
        return answers

    def _row(self, group: Group, seen: _Seen, look: Look) -> Revert:
        changes = np.concatenate(seen.losses)
        low, high = mean_interval(changes, look.confidence)
        accuracy = None
        if self._question.kind == "classification":
            accuracy = share_interval(seen.lost, seen.won, len(changes), look.confidence)
        return Revert(
            group=group,
            loss_change=float(changes.mean()),
            loss_interval=(low, high),
            accuracy_change=None if accuracy is None else (seen.won - seen.lost) / len(changes),
            accuracy_interval=accuracy,
            examples=len(changes),
            logit_change=seen.logit_change,
            free=high < self._tolerance,
            matters=low > self._tolerance,
        )

    def _unchanged(self, group: Group) -> Revert:
        """What a group with the base's own values gives, without running the model for it."""
        classes = self._question.kind == "classification"
        return Revert(
            group=group,
            loss_change=0.0,
            loss_interval=(0.0, 0.0),
            accuracy_change=0.0 if classes else None,
            accuracy_interval=(0.0, 0.0) if classes else None,
            examples=self._plan[-1].examples,
            logit_change=0.0,
            free=True,
        )

    def _report(self, done: int) -> None:
        self._done = done
        if self._progress is not None:
            self._progress(min(done, self._total), self._total)
