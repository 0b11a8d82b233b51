"""Another numbering of the labels: which answer stands for which class is told by the confusion matrix."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from bitfit_probe.diagnosis.fitting import LinearHead, cross_fitted
from bitfit_probe.diagnosis.interventions.heads import head_change
from bitfit_probe.diagnosis.outcomes import outcome_of_logits
from bitfit_probe.diagnosis.step import Change, Step
from bitfit_probe.diagnosis.subject import Subject

if TYPE_CHECKING:
    import numpy.typing as npt

    Rows = npt.NDArray[np.int64]

__all__ = ["assigned", "steps"]


def steps(subject: Subject) -> Iterator[Step]:
    """One step, for classifiers with a head."""
    if not subject.classifies or subject.head is None:
        return
    logits, targets = subject.tuned.logits, subject.fit_targets.astype(np.int64)

    def places(rows: Rows) -> Rows:
        return assigned(logits[rows].argmax(1), targets[rows], subject.classes)

    if (places(subject.fit_rows) == np.arange(subject.classes)).all():
        return
    judged = cross_fitted(subject.splits, len(subject.data), lambda fit, judge: logits[judge][:, places(fit)])
    yield Step(
        "relabel",
        "Renumber the labels",
        "each answer is given the class that it stands for, by the order of id2label or of the head's rows",
        lambda rows: outcome_of_logits(subject.question, judged, subject.targets),
        fitted=True,
        passes=False,
        change=lambda: _change(subject, places(subject.fit_rows)),
    )


def assigned(answers: Rows, targets: Rows, classes: int) -> Rows:
    """For each class the answer that stands for it: the one-to-one choice that is right most often.

    Parameters
    ----------
    answers, targets
        Given and true class numbers, shape (examples,).

    Returns
    -------
    ndarray of int, shape (classes,)
        Where two choices are right as often, a class keeps its number.
    """
    from scipy.optimize import linear_sum_assignment

    confusion = np.zeros((classes, classes))
    np.add.at(confusion, (targets, answers), 1.0)
    found: Rows = linear_sum_assignment(-confusion - np.eye(classes) / (2 * classes))[1]
    return found


def _change(subject: Subject, places: Rows) -> Change:
    """The names in config.json where the data's labels are those names, else the head's rows."""
    names = subject.live.model.config.id2label
    known = {name.casefold() for name in names.values()}
    if all(name.casefold() in known for name in subject.data.label_names):
        right = {str(answer): names[place] for place, answer in enumerate(places)}
        ordered = dict(sorted(right.items(), key=lambda item: int(item[0])))
        return Change(
            config={"id2label": ordered, "label2id": {name: int(at) for at, name in ordered.items()}}
        )
    head = subject.head
    assert head is not None
    return head_change(subject, LinearHead(head.weight[places], head.bias[places]))
