"""Which biases a tuned model needs: an ablation that puts them back to the base's values, by groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bitfit_probe.pair import Pair, Reading
from bitfit_probe.records.options import RevertOptions

if TYPE_CHECKING:
    from bitfit_probe.comparison import Progress
    from bitfit_probe.data import Columns, TaskData
    from bitfit_probe.records.measures import Reverting
    from bitfit_probe.records.report import Report

__all__ = ["revert", "with_examples"]


def revert(
    base: str | Path,
    tuned: str | Path,
    data: str | Path | TaskData,
    *,
    columns: Columns | None = None,
    options: RevertOptions | None = None,
    progress: Progress | None = None,
) -> Reverting:
    """Say which biases matter: put each group back to the base's values and measure what the model loses.

    Parameters
    ----------
    base, tuned
        As for `diff`, with config.json and tokenizer beside one of them or in ``options.model_dir``.
    data
        Labelled texts (CSV, TSV, JSONL, JSON or Parquet); for a language model texts are enough.
    columns
        Which columns of `data` to read, where their names don't tell.
    options
        The groups, how many examples, and when a group counts as free.
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
    from bitfit_probe.data import as_examples
    from bitfit_probe.measures.ablation import ablate

    options = options or RevertOptions()
    pair = Pair.open(base, tuned, Reading(options.state_dict_key, biases_only=True))
    read = as_examples(data, columns).sample(options.examples)
    live = pair.live("tuned", options.model_dir)
    found = ablate(live, pair.base, pair.comparison, read, options, progress=progress)
    pair.check_unchanged()
    return found


def with_examples(
    report: Report,
    pairs: Sequence[Pair],
    data: TaskData,
    options: RevertOptions,
    *,
    progress: Progress | None = None,
) -> Report:
    """Add to a report what examples tell: reverting, and Fisher in the rankings that it has.

    Parameters
    ----------
    report
        Of the same pairs.
    pairs
        Open and compared.
    data, options, progress
        As for `revert`.

    Raises
    ------
    BitfitProbeError
        As for `revert`.
    """
    from bitfit_probe.measures.ablation import ablate
    from bitfit_probe.measures.fisher import fisher_of
    from bitfit_probe.measures.ranking import rank

    read = data.sample(options.examples)
    measured = []
    for number, (pair, known) in enumerate(zip(pairs, report.measured, strict=True)):
        share = None if progress is None else _share(progress, number, len(pairs))
        live = pair.live("tuned", options.model_dir)
        found = ablate(live, pair.base, pair.comparison, read, options, progress=share)
        rankings = known.rankings
        if rankings:
            steep = fisher_of(live, pair.base, read)
            rankings = tuple(rank(pair.comparison, r.by, paper=r.paper, fisher=steep) for r in rankings)
        measured.append(replace(known, reverting=found, rankings=rankings))
        pair.check_unchanged()
    return replace(report, measured=tuple(measured))


def _share(progress: Progress, number: int, count: int) -> Progress:
    """Progress on the `number`-th of `count` equal parts."""
    return lambda done, total: progress(number * total + done, count * total)
