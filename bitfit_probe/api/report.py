"""Everything about a base and what was tuned from it, in one record that pages are made of."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from bitfit_probe.align import Alignment, align
from bitfit_probe.api.compare import as_diff, compared
from bitfit_probe.api.progress import Progress, part
from bitfit_probe.checkpoint import Checkpoint, open_checkpoint
from bitfit_probe.checkpoint.trainer_state import finite
from bitfit_probe.comparison import Progress as Told
from bitfit_probe.errors import DataError, ModelError
from bitfit_probe.pair import Pair, Reading
from bitfit_probe.records.options import DiagnoseOptions, ReportOptions
from bitfit_probe.records.report import Measured, Report, Run
from bitfit_probe.version import __version__

if TYPE_CHECKING:
    from bitfit_probe.data import Columns, TaskData
    from bitfit_probe.records import Check
    from bitfit_probe.records.measures import Likeness, Ranking, Trajectory

__all__ = ["demo", "report"]


def report(
    base: str | Path,
    *tuned: str | Path,
    data: str | Path | TaskData | None = None,
    columns: Columns | None = None,
    options: ReportOptions | None = None,
    progress: Progress | None = None,
) -> Report:
    """Say what moved, by every measure; with examples also which biases matter, and which method to take.

    Parameters
    ----------
    base, *tuned
        As for `diff`. Several tuned checkpoints are also compared with each other; those that can't be read
        are `failures` of the diff.
    data
        Labelled examples, or a file of them, for all that runs the model.
    columns
        Which columns of `data` to read; guessed by name where not given.
    options
        What is measured; all of it where not given.
    progress
        Told what is being done (``comparing``, ``spectra``, ``reverting``, and the stages of `distance`), and
        the part of it done and to do.

    Returns
    -------
    Report
        The diff, and one `Measured` a tuned checkpoint.

    Raises
    ------
    BitfitProbeError
        As for `diff` and `revert`; also where the adapter can't be read or fits no matrix.

    Examples
    --------
    >>> import bitfit_probe as bp
    >>> from bitfit_probe import sample
    >>> report = bp.report(sample.base_path(), sample.tuned_path())
    >>> report.measured[0].adequacy.state
    'healthy'
    """
    options = options or ReportOptions()
    examples = _examples(data, columns)
    reading = Reading(
        options.state_dict_key, options.biases_only, options.trust_checksums, part(progress, "comparing")
    )
    given = compared(base, tuned, reading, examples)
    pairs = [pair for pair in given if pair.compared]
    found = _of_files(given, pairs, options, part(progress, "spectra"))
    if examples is None:
        return found
    from bitfit_probe.api.ablation import with_examples
    from bitfit_probe.api.diagnose import diagnosed
    from bitfit_probe.api.task import with_recommendation

    if options.diagnose:
        with contextlib.suppress(DataError, ModelError):  # other labels than the model's, say
            asked = DiagnoseOptions(check=False)
            sample = examples.sample(asked.examples)
            told = diagnosed(pairs, sample, asked, known=found.check, progress=progress)
            found = replace(found, diagnosed=told)
    found = with_examples(found, pairs, examples, options.revert, progress=part(progress, "reverting"))
    if options.recommend:
        with contextlib.suppress(DataError, ModelError):  # a base without tokenizer, say: it stays unsaid
            found = with_recommendation(found, pairs, examples, progress=progress)
    return replace(found, data=examples.path, rows=len(examples))


def demo() -> Report:
    """What `report` says of the embedded sample: a small English BERT and its BitFit checkpoint.

    The paths in it are the same wherever the package is installed.

    Examples
    --------
    >>> import bitfit_probe as bp
    >>> bp.demo().diff.comparisons[0].verdict
    'bitfit'
    """
    from bitfit_probe import sample

    options = ReportOptions(by=(), spectra=False, hashes=False, check=False, date="")
    found = report(sample.base_path(), sample.tuned_path(), options=options)
    diff = found.diff
    comparisons = [
        replace(comparison, tuned=replace(comparison.tuned, path="sample/tuned"))
        for comparison in diff.comparisons
    ]
    named = replace(diff, base=replace(diff.base, path="sample/base"), comparisons=tuple(comparisons))
    return replace(found, diff=named)


def _examples(data: str | Path | TaskData | None, columns: Columns | None) -> TaskData | None:
    if data is None:
        return None
    from bitfit_probe.data import as_examples

    return as_examples(data, columns)


def _of_files(
    given: Sequence[Pair], pairs: Sequence[Pair], options: ReportOptions, progress: Told | None
) -> Report:
    """What the files alone tell of those pairs among the given ones that could be compared."""
    adapter = options.adapter if options.spectra else None
    updates = None if adapter is None else align(pairs[0].base, open_checkpoint(adapter))
    measured = [_measured(pair, pairs, options, updates, progress) for pair in pairs]
    several = len(pairs) > 1
    found = Report(
        diff=as_diff(given),
        measured=tuple(measured),
        check=_checked(given) if options.check else None,
        likeness=_likeness(pairs) if several and pairs[0].base.adapter is None else (),
        trajectory=_trajectory(pairs) if several and options.trajectory else None,
        files=_hashes([pairs[0].base, *(pair.tuned for pair in pairs)]) if options.hashes else (),
        version=__version__,
        date=_newest(pairs) if options.date is None else options.date,
    )
    for pair in pairs:
        pair.check_unchanged()
    return found


def _measured(
    pair: Pair,
    pairs: Sequence[Pair],
    options: ReportOptions,
    updates: Alignment | None,
    progress: Told | None,
) -> Measured:
    from bitfit_probe.forms import forms_of_pair
    from bitfit_probe.measures.training_sufficiency import adequacy_of

    rankings = _rankings(pair, options) if options.by else ()
    of_a_model = pair.base.adapter is None
    forms = forms_of_pair(pair, pairs) if of_a_model else None
    enough = adequacy_of(pair) if of_a_model else None
    known = Measured(rankings, enough, forms=forms, run=_run(pair))
    if not options.spectra:
        return known
    from bitfit_probe.measures.spectra import left_out, spectra

    found = spectra(pair.alignment, pair.comparison, adapter=updates, progress=progress)
    return replace(known, spectra=found, no_spectrum=left_out(pair.comparison))


def _run(pair: Pair) -> Run:
    """The log beside the tuned weights, and what these take on the disk."""
    sizes: Counter[str] = Counter()
    for tensor in pair.tuned.tensors.values():
        sizes[tensor.dtype.name] += math.prod(tensor.shape)
    log, dtype = pair.trainer_state, max(sizes, key=lambda name: sizes[name], default="")
    size = sum(file.size for file in pair.tuned.files)
    if log is None:
        return Run(bytes=size, dtype=dtype)
    series = (finite(log.losses), log.eval_losses, finite(log.rates))
    return Run(log.steps, log.highest_rate, *series, bytes=size, dtype=dtype)


def _newest(pairs: Sequence[Pair]) -> str:
    """The day on which the newest file of weights was written; empty where all come from afar."""
    files = [file for pair in pairs for side in (pair.base, pair.tuned) for file in side.files]
    times = [file.path.stat().st_mtime for file in files if file.path.exists()]
    return datetime.fromtimestamp(max(times), timezone.utc).date().isoformat() if times else ""


def _rankings(pair: Pair, options: ReportOptions) -> tuple[Ranking, ...]:
    from bitfit_probe.measures.ranking import rank

    return tuple(rank(pair.comparison, each, paper=options.paper) for each in options.by)


def _likeness(pairs: Sequence[Pair]) -> tuple[Likeness, ...]:
    from bitfit_probe.measures.delta_similarity import likeness

    return likeness(pairs)


def _trajectory(pairs: Sequence[Pair]) -> Trajectory:
    from bitfit_probe.measures.trajectory import trajectory

    return trajectory(pairs)


def _checked(pairs: Sequence[Pair]) -> Check:
    from bitfit_probe.rules import check

    return check(pairs)


def _hashes(checkpoints: Sequence[Checkpoint]) -> tuple[tuple[str, str], ...]:
    files = {str(file.path): file for checkpoint in checkpoints for file in checkpoint.files}
    return tuple((path, file.sha256()) for path, file in files.items())
