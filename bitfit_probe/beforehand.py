"""Where the rooms meet before a method is chosen: from a model and examples to what to expect and to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from bitfit_probe.data import Columns, TaskData
    from bitfit_probe.inference import LiveModel
    from bitfit_probe.pair import Pair
    from bitfit_probe.recommendation.known import Known
    from bitfit_probe.records import Evidence
    from bitfit_probe.records.distance import Distance
    from bitfit_probe.records.recommendation import Recommended, Trial
    from bitfit_probe.records.report import Report

__all__ = ["distance", "recommend", "with_recommendation"]

#: Told what is being done, and the part of it done and to do.
Progress = Callable[[str, int, int], None]


def distance(
    model: str | Path | LiveModel,
    data: str | Path | TaskData,
    *,
    columns: Columns | None = None,
    reference: str | Path | Literal[False] | None = None,
    tuned: str | Path | None = None,
    reach: bool = True,
    examples: int = 300,
    seed: int = 0,
    progress: Progress | None = None,
) -> Distance:
    """Measure how far a task lies from what a model knows, and what training could reach.

    Parameters
    ----------
    model
        Model directory with its tokenizer, or a model that lives already.
    data
        Labelled examples, or a file of them: CSV, TSV, JSONL or Parquet.
    columns
        Which columns to read; guessed by name where not given.
    reference
        A file of texts like those of the pretraining, one a line; None takes the English sample of the
        package, False leaves the text distances out.
    tuned
        A checkpoint tuned from the model: how much of its change biases could have done.
    reach
        Whether to forecast head, biases, LoRA and all weights.
    examples
        How many to take at random.
    seed
        Of sampling, folds and directions.
    progress
        Told what is being done, and the part of it done and to do.

    Raises
    ------
    BitfitProbeError
        The data can't be used (BE4xx) or the model can't be loaded (BE5xx).
    """
    from bitfit_probe.data import as_examples, read_texts
    from bitfit_probe.records.options import DistanceOptions
    from bitfit_probe.task_distance import Reference, english_reference, measure_distance

    texts: tuple[str, ...] = ()
    name = "English public-domain prose"
    if reference is None:
        texts = english_reference()
    elif reference is not False:
        texts, name = read_texts(reference), Path(reference).name
    return measure_distance(
        model,
        as_examples(data, columns),
        Reference(name, texts),
        DistanceOptions(reference, reach, examples, seed),
        tuned=tuned,
        progress=progress,
    )


def recommend(
    model: str | Path,
    data: str | Path | TaskData,
    *,
    columns: Columns | None = None,
    reference: str | Path | Literal[False] | None = None,
    tuned: Sequence[str | Path] = (),
    trial: float | None = None,
    work_dir: Path | None = None,
    margin: float = 1.0,
    examples: int = 300,
    seed: int = 0,
    progress: Progress | None = None,
) -> Recommended:
    """Say which of BitFit, LoRA and full fine-tuning to take, with the evidence for and against it.

    Parameters
    ----------
    model, data, columns, reference, examples, seed
        As for `distance`. All examples of `data` count as those to train on.
    tuned
        Checkpoints tuned for the task already: their findings come before any advice to change the method.
    trial
        Minutes for short runs of the candidates, whose results take the place of forecasts.
    work_dir
        Directory in which finished runs of a trial are kept, so that an interrupted one goes on.
    margin
        Points that a cheaper method may lose against the best.
    progress
        Told what is being done (the stages of `distance`, ``tuned``, ``trial``), and the part of it done and
        to do.

    Raises
    ------
    BitfitProbeError
        As for `distance`.
    """
    from bitfit_probe.checkpoint import open_checkpoint
    from bitfit_probe.data import as_examples
    from bitfit_probe.outputs import refuse_overlap
    from bitfit_probe.pair import open_pairs
    from bitfit_probe.recommendation.answer import recommendation
    from bitfit_probe.recommendation.trial.journal import JOURNAL
    from bitfit_probe.records.recommendation import Recommended

    if work_dir is not None:
        given = [item for item in (model, data, reference, *tuned) if isinstance(item, str | Path)]
        refuse_overlap([Path(work_dir) / JOURNAL], map(Path, given))
    read = as_examples(data, columns)
    pairs = open_pairs(model, tuned, data=read) if tuned else ()
    opened = next((pair.path for pair in pairs if pair.compared), None)
    live = pairs[0].live("base") if pairs else model
    measured = distance(
        live, read, reference=reference, tuned=opened, examples=examples, seed=seed, progress=progress
    )
    runs = None if trial is None else _trial(model, read, trial, work_dir, seed, progress)
    known, evidence = _known(pairs, read.sample(examples, seed), runs, progress)
    checkpoint = pairs[0].base if pairs else open_checkpoint(model)
    return Recommended(
        recommendation(checkpoint, read, measured, margin=margin, known=known),
        measured,
        evidence,
        runs,
        known.check,
    )


def with_recommendation(
    report: Report,
    pairs: Sequence[Pair],
    data: TaskData,
    *,
    margin: float = 1.0,
    examples: int = 300,
    progress: Progress | None = None,
) -> Report:
    """Add to a report how far the task is, and which method it asks for.

    Parameters
    ----------
    report
        From `describe` with the same pairs; its findings, spectra and reverting count as evidence.
    pairs
        Open and compared.
    data, margin, examples, progress
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
    measured = distance(pairs[0].live("base"), data, examples=examples, progress=progress)
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
    answer = recommendation(base, data, measured, margin=margin, known=known)
    found = Recommended(answer, measured, check=report.check)
    return replace(report, evidence=measured.evidence, recommended=found)


def _trial(
    model: str | Path,
    data: TaskData,
    minutes: float,
    work_dir: Path | None,
    seed: int,
    progress: Progress | None,
) -> Trial:
    from bitfit_probe.recommendation.trial import run_trial
    from bitfit_probe.records.options import TrialOptions

    tell = None if progress is None else lambda done, total: progress("trial", int(done), int(total))
    asked = TrialOptions(minutes, seed=seed, work_dir=work_dir)
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
