"""Where the rooms meet that run a model: from paths and examples to which biases matter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.comparison import Progress, compare

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
    from bitfit_probe.measures.reverting import revert as run
    from bitfit_probe.rules.importance import CONFIDENCE, TOLERANCE

    read = _examples(data, columns, examples)
    ours, theirs = open_checkpoint(base, state_dict_key), open_checkpoint(tuned, state_dict_key)
    comparison, _ = compare(ours, theirs, biases_only=True)
    found = run(
        ours,
        theirs,
        comparison,
        read,
        by=by,
        model_dir=model_dir,
        confidence=CONFIDENCE if confidence is None else confidence,
        tolerance=TOLERANCE if tolerance is None else tolerance,
        early_stop=early_stop,
        progress=progress,
    )
    for checkpoint in (ours, theirs):
        checkpoint.check_unchanged()
    return found


def with_examples(
    report: Report,
    base: str | Path,
    *tuned: str | Path,
    data: str | Path | TaskData,
    by: By = "role",
    columns: Columns | None = None,
    examples: int | None = None,
    tolerance: float | None = None,
    model_dir: str | Path | None = None,
    state_dict_key: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Add to a report what examples tell: reverting, and Fisher in the rankings that it has.

    Parameters
    ----------
    report
        From `probe` with the same checkpoints.
    base, *tuned, data, by, columns, examples, tolerance, model_dir, state_dict_key, progress
        As for `revert`.

    Raises
    ------
    BitfitProbeError
        As for `revert`.
    """
    read = _examples(data, columns, examples)
    measured = []
    sides = zip(tuned, report.diff.comparisons, report.measured, strict=True)
    for number, (path, comparison, known) in enumerate(sides):
        found = revert(
            base,
            path,
            read,
            by=by,
            examples=len(read),
            model_dir=model_dir,
            state_dict_key=state_dict_key,
            tolerance=tolerance,
            progress=None if progress is None else _share(progress, number, len(tuned)),
        )
        rankings = known.rankings
        if rankings:
            from bitfit_probe.measures.ranking import rank

            steep = _steepness(base, path, read, model_dir, state_dict_key)
            rankings = tuple(rank(comparison, r.by, paper=r.paper, fisher=steep) for r in rankings)
        measured.append(replace(known, reverting=found, rankings=rankings))
    return replace(report, measured=tuple(measured))


def _share(progress: Progress, number: int, count: int) -> Progress:
    """Progress on the `number`-th of `count` equal parts."""
    return lambda done, total: progress(number * total + done, count * total)


def _examples(data: str | Path | TaskData, columns: Columns | None, examples: int | None) -> TaskData:
    from bitfit_probe.data import as_examples
    from bitfit_probe.rules.importance import EXAMPLES

    return as_examples(data, columns).sample(EXAMPLES if examples is None else examples)


def _steepness(
    base: str | Path,
    tuned: str | Path,
    data: TaskData,
    model_dir: str | Path | None,
    state_dict_key: str | None,
) -> dict[str, float]:
    from bitfit_probe.measures.fisher import fisher_of

    return fisher_of(
        open_checkpoint(base, state_dict_key),
        open_checkpoint(tuned, state_dict_key),
        data,
        model_dir=model_dir,
    )
