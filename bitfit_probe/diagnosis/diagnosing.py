"""One tuned model: quality first, then the steps, then what they say about the findings of `check`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bitfit_probe.diagnosis.causes import causes
from bitfit_probe.diagnosis.headline import headline
from bitfit_probe.diagnosis.interventions import all_steps
from bitfit_probe.diagnosis.quality import base_probe, quality
from bitfit_probe.diagnosis.step import Step
from bitfit_probe.diagnosis.subject import Subject
from bitfit_probe.diagnosis.telling import flips, slices, worst
from bitfit_probe.diagnosis.trying import CHANCE, Tried, advise, chances_of, try_steps
from bitfit_probe.measures.intervals import mean_interval
from bitfit_probe.records import Finding
from bitfit_probe.records.diagnosis import Diagnosis, Intervention, Measured

__all__ = ["diagnose_subject"]


def diagnose_subject(
    subject: Subject,
    findings: Sequence[Finding] = (),
    *,
    texts: bool = True,
    command: Callable[[Step], str] = lambda step: "",
    tell: Callable[[int, int], None] | None = None,
) -> Diagnosis:
    """Say how good the model is, and what would make it better.

    Parameters
    ----------
    findings
        What `check` said of it, to be tested.
    texts
        Whether examples are shown with their texts.
    command
        What does a step for good.
    tell
        Told how many steps were tried, and how many there are.

    Raises
    ------
    BitfitProbeError
        The model can't be loaded or run, or the labels are not its own.
    """
    known = quality(subject)
    tried = try_steps(
        list(all_steps(subject)),
        subject.before,
        shares=subject.classifies,
        early=not subject.compares,
        tell=tell,
    )
    seen = chances_of(tried)
    advice = advise(tried, seen)
    rows = tuple(
        sorted(
            (_row(item, chance, command) for item, chance in zip(tried, seen, strict=True)),
            key=lambda row: (row.name != (advice.step.step.name if advice else ""), -row.gain),
        )
    )
    probe = base_probe(subject) if subject.predicts else None
    return Diagnosis(
        tuned=str(subject.pair.path),
        examples=len(subject.data),
        headline=headline(known, rows, advice, len(subject.data)),
        quality=known,
        advice=advice.step.step.name if advice else None,
        gain=Measured(advice.gain, advice.interval) if advice else None,
        interventions=rows,
        causes=causes(findings, rows, advice.step.step.name if advice else None),
        worst=worst(subject, texts=texts),
        lost=flips(subject, probe, right=False, texts=texts),
        won=flips(subject, probe, right=True, texts=texts),
        slices=slices(subject),
        notes=tuple(_notes(subject)),
    )


def _row(item: Tried, chance: float, command: Callable[[Step], str]) -> Intervention:
    step = item.step
    return Intervention(
        name=step.name,
        title=step.title,
        gain=float(item.gains.mean()),
        interval=item.interval,
        loss_gain=float(item.loss_gains.mean()),
        loss_interval=mean_interval(item.loss_gains, 0.95),
        examples=len(item.rows),
        stored_parameters=step.stored,
        seconds=round(item.seconds, 2),
        cross_fitted=step.fitted,
        helps=chance < CHANCE and float(item.gains.mean()) > 0,
        chance=chance,
        how=step.how,
        command=command(step) if step.change is not None else "",
        in_code=step.in_code,
    )


def _notes(subject: Subject) -> list[str]:
    notes = list(subject.question.notes)
    if subject.live.missing:
        names = ", ".join(subject.live.missing[:3])
        notes.append(f"the weights lack {names}: loading draws them at random, and so did this run")
    if subject.half is not None:
        notes.append(f"the weights are stored as {subject.half}, and the model was judged in that type")
    return notes
