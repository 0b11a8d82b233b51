"""Before a method is chosen: how far a task lies from a model, what to expect, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bitfit_probe.records.options import DistanceOptions, RecommendOptions

if TYPE_CHECKING:
    from bitfit_probe.api.progress import Progress
    from bitfit_probe.checkpoint import Checkpoint
    from bitfit_probe.data import Columns, TaskData
    from bitfit_probe.inference import LiveModel
    from bitfit_probe.pair import Pair
    from bitfit_probe.recommendation.known import Known
    from bitfit_probe.records import Evidence
    from bitfit_probe.records.distance import Distance
    from bitfit_probe.records.recommendation import Recommended, Trial
    from bitfit_probe.records.report import Report

__all__ = ["distance", "recommend", "with_recommendation"]


def distance(
    model: str | Path | Checkpoint | LiveModel,
    data: str | Path | TaskData,
    *,
    columns: Columns | None = None,
    tuned: str | Path | Checkpoint | None = None,
    options: DistanceOptions | None = None,
    progress: Progress | None = None,
) -> Distance:
    """Measure how far a task lies from what a model knows, and what training could reach.

    Parameters
    ----------
    model
        Model directory with its tokenizer, open or not, or a model that lives already.
    data
        Labelled examples, or a file of them: CSV, TSV, JSONL or Parquet.
    columns
        Which columns to read; guessed by name where not given.
    tuned
        A checkpoint tuned from the model: how much of its change biases could have done.
    options
        What is measured, and on how many examples.
    progress
        Told what is being done, and the part of it done and to do.

    Raises
    ------
    BitfitProbeError
        The data can't be used (BE4xx) or the model can't be loaded (BE5xx).
    """
    from bitfit_probe.data import as_examples, read_texts
    from bitfit_probe.task_distance import Reference, english_reference, measure_distance

    options = options or DistanceOptions()
    against = Reference("English public-domain prose", ())
    if options.reference is None:
        against = against._replace(texts=english_reference())
    elif options.reference is not False:
        against = Reference(Path(options.reference).name, read_texts(options.reference))
    read = as_examples(data, columns)
    return measure_distance(model, read, against, options, tuned=tuned, progress=progress)


def recommend(
    model: str | Path,
    data: str | Path | TaskData,
    *,
    columns: Columns | None = None,
    tuned: Sequence[str | Path] = (),
    options: RecommendOptions | None = None,
    progress: Progress | None = None,
) -> Recommended:
    """Say which of BitFit, LoRA and full fine-tuning to take, with the evidence for and against it.

    Parameters
    ----------
    model, data, columns
        As for `distance`. All examples of `data` count as those to train on.
    tuned
        Checkpoints tuned for the task already: their findings come before any advice to change the method.
    options
        What is measured, whether the methods are tried, and what a cheaper one may lose.
    progress
        Told what is being done (the stages of `distance`, ``tuned``, ``trial: …``), and the part of it done
        and to do.

    Raises
    ------
    BitfitProbeError
        As for `distance`.
    """
    from bitfit_probe.checkpoint import open_checkpoint
    from bitfit_probe.data import as_examples
    from bitfit_probe.pair import open_pairs
    from bitfit_probe.recommendation.answer import recommendation
    from bitfit_probe.records.recommendation import Recommended

    options = options or RecommendOptions()
    _refuse_inputs_as_journal(options, (model, data, options.reference, *tuned))
    read = as_examples(data, columns)
    pairs = open_pairs(model, tuned, data=read) if tuned else ()
    base = pairs[0].base if pairs else open_checkpoint(model)
    opened = next((pair.tuned for pair in pairs if pair.compared), None)
    live = pairs[0].live("base") if pairs else base
    measured = distance(live, read, tuned=opened, options=options.distance, progress=progress)
    runs = _trial(model, read, options, progress)
    known, evidence = _known(pairs, read.sample(options.examples, options.seed), runs, progress)
    return Recommended(
        recommendation(base, read, measured, options=options, known=known),
        measured,
        evidence,
        runs,
        known.check,
    )


def with_recommendation(
    report: Report, pairs: Sequence[Pair], data: TaskData, *, progress: Progress | None = None
) -> Report:
    """Add to a report how far the task is, and which method it asks for.

    Parameters
    ----------
    report
        Of the same pairs; its findings, spectra and reverting count as evidence.
    pairs
        Open and compared.
    data, progress
        As for `recommend`.

    Raises
    ------
    BitfitProbeError
        As for `distance`.
    """
    from bitfit_probe.recommendation.afterwards import Look, middle_rank, steps_taken
    from bitfit_probe.recommendation.answer import recommendation
    from bitfit_probe.recommendation.known import Known
    from bitfit_probe.records.recommendation import Recommended

    base = pairs[0].base
    measured = distance(pairs[0].live("base"), data, progress=progress)
    looks = [
        Look(
            str(pair.path),
            known.reverting.accuracy if known.reverting is not None else None,
            middle_rank(known.spectra),
            steps_taken(pair),
        )
        for pair, known in zip(pairs, report.measured, strict=True)
    ]
    known = Known.of(looks, report.check)
    found = Recommended(recommendation(base, data, measured, known=known), measured, check=report.check)
    return replace(report, evidence=measured.evidence, recommended=found)


def _refuse_inputs_as_journal(options: RecommendOptions, given: Iterable[object]) -> None:
    from bitfit_probe.outputs import refuse_overlap
    from bitfit_probe.recommendation.trial.journal import JOURNAL

    if options.work_dir is not None:
        inputs = [Path(item) for item in given if isinstance(item, str | Path)]
        refuse_overlap([Path(options.work_dir) / JOURNAL], inputs)


def _trial(
    model: str | Path, data: TaskData, options: RecommendOptions, progress: Progress | None
) -> Trial | None:
    if options.trial is None:
        return None
    from bitfit_probe.recommendation.trial import run_trial
    from bitfit_probe.records.options import TrialOptions

    def tell(doing: str, done: int, total: int) -> None:
        if progress is not None:
            progress(f"trial: {doing}", done, total)

    asked = TrialOptions(options.trial, price=options.price, seed=options.seed, work_dir=options.work_dir)
    return run_trial(model, data, asked, progress=tell)


def _known(
    pairs: Sequence[Pair], data: TaskData, trial: Trial | None, progress: Progress | None
) -> tuple[Known, tuple[Evidence, ...]]:
    """What tuned checkpoints tell: findings, scores, and the rank of what changed."""
    from bitfit_probe.recommendation.afterwards import look
    from bitfit_probe.recommendation.known import Known
    from bitfit_probe.rules import check

    if not pairs:
        return Known(trial), ()
    looks = []
    for number, pair in enumerate(pairs):
        if progress is not None:
            progress("tuned", number, len(pairs))
        looks.append(look(pair, data))
    return Known.of(looks, check(pairs), trial), tuple(
        evidence for item in looks for evidence in item.evidence
    )
