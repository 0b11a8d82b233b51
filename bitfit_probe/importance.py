"""Where the rooms meet that run a model: from paths and examples to which biases matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bitfit_probe.comparison import Progress
from bitfit_probe.pair import Pair, Reading

if TYPE_CHECKING:
    from bitfit_probe.data import Columns, TaskData
    from bitfit_probe.records.measures import By, Reverting
    from bitfit_probe.records.report import Report

__all__ = ["revert", "with_examples"]


def revert(
    base: str | Path,
    tuned: str | Path,
    data: str | Path | TaskData,
    *,
    by: By = "role",
    columns: Columns | None = None,
    examples: int | None = None,
    model_dir: str | Path | None = None,
    state_dict_key: str | None = None,
    confidence: float | None = None,
    tolerance: float | None = None,
    early_stop: bool = True,
    progress: Progress | None = None,
) -> Reverting:
    """Say which biases matter: put each group back to the base's values and measure what the model loses.

    Parameters
    ----------
    base, tuned, state_dict_key
        As for `diff`, with config.json and tokenizer beside one of them or in `model_dir`.
    data
        Labelled texts (CSV, TSV, JSONL, JSON or Parquet); for a language model texts are enough.
    by
        What goes back as one: ``role``, ``layer``, ``role-layer`` or ``tensor``.
    columns
        Which columns of `data` to read, where their names don't tell.
    examples
        Take at most so many of them, at random; 1,000 if None.
    model_dir
        Directory of config.json and tokenizer.
    confidence, tolerance
        Of the intervals (0.95 if None), and up to which rise of the loss a group is free (0.02 if None).
    early_stop
        Stop a group once its interval decides.
    progress
        Called with the batches done and to do.

    Returns
    -------
    Reverting
        One row a group, those that matter most first.

    Raises
    ------
    DataError
        The examples can't be read, or have labels that are not the model's.
    ModelError
        The model can't be built from these files.
    BitfitProbeError
        As for `diff`.

    Examples
    --------
    >>> import bitfit_probe as bp
    >>> from bitfit_probe import sample
    >>> found = bp.revert(sample.base_path(), sample.tuned_path(), "questions.csv")  # doctest: +SKIP
    >>> found.rows[0].group.label, found.rows[0].verdict  # doctest: +SKIP
    ('q', 'matters')
    """
    from bitfit_probe.rules.importance import CONFIDENCE, TOLERANCE

    pair = Pair.open(base, tuned, Reading(state_dict_key, biases_only=True))
    found = _revert(
        pair,
        _examples(data, columns, examples),
        by,
        model_dir,
        CONFIDENCE if confidence is None else confidence,
        TOLERANCE if tolerance is None else tolerance,
        early_stop=early_stop,
        progress=progress,
    )
    pair.check_unchanged()
    return found


def with_examples(
    report: Report,
    pairs: Sequence[Pair],
    data: str | Path | TaskData,
    *,
    by: By = "role",
    columns: Columns | None = None,
    examples: int | None = None,
    tolerance: float | None = None,
    model_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> Report:
    """Add to a report what examples tell: reverting, and Fisher in the rankings that it has.

    Parameters
    ----------
    report
        From `describe` with the same pairs.
    pairs
        Open and compared.
    data, by, columns, examples, tolerance, model_dir, progress
        As for `revert`.

    Raises
    ------
    BitfitProbeError
        As for `revert`.
    """
    from bitfit_probe.measures.fisher import fisher_of
    from bitfit_probe.measures.ranking import rank
    from bitfit_probe.rules.importance import CONFIDENCE, TOLERANCE

    read = _examples(data, columns, examples)
    measured = []
    for number, (pair, known) in enumerate(zip(pairs, report.measured, strict=True)):
        found = _revert(
            pair,
            read,
            by,
            model_dir,
            CONFIDENCE,
            TOLERANCE if tolerance is None else tolerance,
            progress=None if progress is None else _share(progress, number, len(pairs)),
        )
        rankings = known.rankings
        if rankings:
            steep = fisher_of(pair.live("tuned", model_dir), pair.base, read)
            rankings = tuple(rank(pair.comparison, r.by, paper=r.paper, fisher=steep) for r in rankings)
        measured.append(replace(known, reverting=found, rankings=rankings))
        pair.check_unchanged()
    return replace(report, measured=tuple(measured))


def _revert(
    pair: Pair,
    data: TaskData,
    by: By,
    model_dir: str | Path | None,
    confidence: float,
    tolerance: float,
    *,
    early_stop: bool = True,
    progress: Progress | None = None,
) -> Reverting:
    from bitfit_probe.measures.reverting import revert as run

    return run(
        pair.live("tuned", model_dir),
        pair.base,
        pair.comparison,
        data,
        by=by,
        confidence=confidence,
        tolerance=tolerance,
        early_stop=early_stop,
        progress=progress,
    )


def _share(progress: Progress, number: int, count: int) -> Progress:
    """Progress on the `number`-th of `count` equal parts."""
    return lambda done, total: progress(number * total + done, count * total)


def _examples(data: str | Path | TaskData, columns: Columns | None, examples: int | None) -> TaskData:
    from bitfit_probe.data import as_examples
    from bitfit_probe.rules.importance import EXAMPLES

    return as_examples(data, columns).sample(EXAMPLES if examples is None else examples)
