"""What is odd about a task's data, said before any figure is trusted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from bitfit_probe.data import TaskData
from bitfit_probe.errors import DataError

__all__ = ["notes_on", "require_reference", "require_sampled", "require_usable"]

#: Fewer examples of a class than this leave cross-validation folds without it.
_FEW = 5
#: A most frequent class above this share makes accuracy say little.
_IMBALANCED = 0.8
_FEW_EXAMPLES = 100
#: One-hot targets are as wide as this.
_MOST_CLASSES = 2000
#: Classes among quantities, or more than this many of them in a small table, mean a wrong column.
_MOST_CLASSES_A_ROW = 0.5


def require_usable(data: TaskData) -> None:
    """Refuse data on which no measure means anything.

    Raises
    ------
    DataError
        No labels, one class only, nearly as many classes as rows, or too few rows.
    """
    if data.labels is None:
        raise DataError("has no label column", advice="name it with --label", path=data.path)
    if data.task == "classification":
        classes = len(set(data.labels))
        if classes < 2:
            raise DataError("has one class only", advice="give examples of every class", path=data.path)
        if classes > max(_MOST_CLASSES_A_ROW * len(data), 2):
            label = data.columns.label
            raise DataError(
                f"column {label!r} has {classes} values in {len(data)} rows, so it names no classes",
                advice="choose another column with --label, or give more rows",
                path=data.path,
            )
        if classes > _MOST_CLASSES:
            raise DataError(
                f"has {classes:,} classes, more than the {_MOST_CLASSES:,} that are measured",
                advice="choose another column with --label, or fewer classes",
                path=data.path,
            )
    if len(set(data.texts)) == 1 and len(set(data.pairs or ())) <= 1:
        raise DataError(
            "has one text only, in every row", advice="choose another column with --text", path=data.path
        )
    if len(data) < 4 * _FEW:
        raise DataError(f"has {len(data)} usable rows", advice=f"give at least {4 * _FEW}", path=data.path)


def require_sampled(data: TaskData) -> None:
    """Refuse a sample in which fewer than two classes are left to be told apart, or one text only.

    Raises
    ------
    DataError
        A class with one example can be learnt from it or tested with it, not both.
    """
    counts = Counter(data.labels or ())
    if data.task == "classification" and sum(count > 1 for count in counts.values()) < 2:
        raise DataError(
            f"has fewer than two classes with two examples among the {len(data)} that were taken",
            advice="give more examples of the rare classes, or take more with --examples",
            path=data.path,
        )
    if len(set(data.texts)) == 1 and len(set(data.pairs or ())) <= 1:
        raise DataError(
            f"has one text only in the {len(data)} rows that were taken",
            advice="choose another column with --text, or take more with --examples",
            path=data.path,
        )


def require_reference(count: int, name: str) -> None:
    """Refuse a reference of too few texts to be a distribution.

    Raises
    ------
    DataError
        Some, but fewer than four times five.
    """
    if 0 < count < 4 * _FEW:
        raise DataError(
            f"gives {count} texts to compare with", advice=f"give at least {4 * _FEW}, one a line", path=name
        )


def notes_on(data: TaskData) -> tuple[str, ...]:
    """What reading noticed (repeated texts, for one), and imbalance, rare classes and constant texts."""
    return (*data.notes, *_notes(data))


def _notes(data: TaskData) -> Iterator[str]:
    most, times = Counter(data.texts).most_common(1)[0]
    if times > len(data) / 2:
        yield f"{times} of {len(data)} texts are the same ({most[:40]!r}): perhaps the wrong column"
    if len(data) < _FEW_EXAMPLES:
        yield f"only {len(data)} examples: intervals are wide"
    if data.task == "classification" and data.labels:
        yield from _classes(data)


def _classes(data: TaskData) -> Iterator[str]:
    counts = Counter(int(label) for label in data.labels or ())
    rare = [data.label_names[label] for label, count in sorted(counts.items()) if count < _FEW]
    if rare:
        listed = ", ".join(rare[:5]) + (" …" if len(rare) > 5 else "")
        yield f"{len(rare)} of {len(counts)} classes have fewer than {_FEW} examples ({listed})"
    label, count = counts.most_common(1)[0]
    if count > _IMBALANCED * len(data):
        share = 100 * count / len(data)
        yield f"{share:.0f} % of the rows are {data.label_names[label]!r}: compare accuracies with that"
