"""How good tuned models are on labelled examples, and which steps would make them better."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bitfit_probe.api.progress import Progress, part
from bitfit_probe.errors import SettingsError
from bitfit_probe.pair import Pair, Reading, open_pairs
from bitfit_probe.records.options import DiagnoseOptions

if TYPE_CHECKING:
    from bitfit_probe.data import Columns, TaskData
    from bitfit_probe.diagnosis import Subject
    from bitfit_probe.diagnosis.step import Step
    from bitfit_probe.records import Check, Finding
    from bitfit_probe.records.diagnosis import Diagnosed, Diagnosis

__all__ = ["diagnose", "diagnosed"]

#: Examples to fit on, at most: more cost passes and hardly move a linear head.
_MOST_TO_FIT = 1000


def diagnose(
    base: str | Path,
    *tuned: str | Path,
    data: str | Path | TaskData,
    columns: Columns | None = None,
    options: DiagnoseOptions | None = None,
    progress: Progress | None = None,
) -> Diagnosed:
    """Say how good tuned models are on labelled examples, and what would make them better, measured.

    Every step is tried on the examples, without training: other labels, another head, less or more of the
    same change, groups put back to the base, other tokenizers and checkpoints. What is fitted is judged on
    examples that it was not fitted on.

    Parameters
    ----------
    base, *tuned
        As for `diff`, with config.json and tokenizer beside one of them.
    data
        Labelled examples that the models were not trained on, or a file of them.
    columns
        Which columns of `data` to read; guessed by name where not given.
    options
        What is tried, and on how many examples.
    progress
        Told ``trying``, and the steps that were tried and are to be.

    Raises
    ------
    DataError
        The examples can't be read, or have labels that are not the model's.
    ModelError
        A model can't be built or run.
    SettingsError
        The step to do is none of those that can be tried, or files can't hold it.
    BitfitProbeError
        As for `diff`.

    Examples
    --------
    >>> import bitfit_probe as bp
    >>> found = bp.diagnose("base", "tuned", data="held_out.csv")  # doctest: +SKIP
    >>> found.diagnoses[0].headline  # doctest: +SKIP
    'Refit the head: +31 points (95 % 24 to 38) on 200 examples. Nothing else gains more than noise.'
    """
    from bitfit_probe.data import as_examples

    options = options or DiagnoseOptions()
    _refuse_unclear(options, tuned)
    read = as_examples(data, columns).sample(options.examples, options.seed)
    train = None if options.train_data is None else as_examples(options.train_data, columns)
    pairs = open_pairs(base, tuned, Reading(options.state_dict_key), data=read)
    return diagnosed(pairs, read, options, train=train, progress=progress)


def diagnosed(
    pairs: Sequence[Pair],
    data: TaskData,
    options: DiagnoseOptions,
    *,
    train: TaskData | None = None,
    known: Check | None = None,
    progress: Progress | None = None,
) -> Diagnosed:
    """`diagnose` of pairs that are open already, on examples that are read; raises as it does.

    Parameters
    ----------
    known
        What `check` said of them, where it was asked.
    """
    from bitfit_probe.diagnosis import Subject
    from bitfit_probe.diagnosis.rivals import Judged, rivals
    from bitfit_probe.records.diagnosis import Diagnosed
    from bitfit_probe.rules import check

    found, judged = [], []
    others = tuple(pair.path for pair in pairs)
    for pair in pairs:
        subject = Subject(pair, data, train and train.sample(_MOST_TO_FIT), others)
        checked = known if known is not None or not options.check else check([pair])
        findings = [item for item in checked.findings if item.tuned == str(pair.path)] if checked else []
        found.append(_diagnosis(subject, options, findings, progress))
        judged.append(Judged.of(subject))
        if options.apply is not None and options.out is not None:
            _apply(subject, options.apply, Path(options.out))
        pair.check_unchanged()
    return Diagnosed(str(pairs[0].base.path), data.path, tuple(found), tuple(rivals(judged)))


def _refuse_unclear(options: DiagnoseOptions, tuned: Sequence[object]) -> None:
    if (options.apply is None) != (options.out is None):
        raise SettingsError("a step is done into a folder", advice="give both apply and out")
    if options.apply is not None and len(tuned) != 1:
        raise SettingsError("a step is done to one tuned checkpoint", advice="give one")


def _diagnosis(
    subject: Subject, options: DiagnoseOptions, findings: Sequence[Finding], progress: Progress | None
) -> Diagnosis:
    from bitfit_probe.diagnosis import diagnose_subject

    pair = subject.pair
    words = ["bitfit-probe", "diagnose", str(pair.base.path), str(pair.path), "--data", subject.data.path]
    if options.train_data is not None:
        words += ["--train-data", str(options.train_data)]

    def command(step: Step) -> str:
        return shlex.join([*words, "--apply", step.name, "-o", "mended"])

    return diagnose_subject(
        subject, findings, texts=not options.no_examples, command=command, tell=part(progress, "trying")
    )


def _apply(subject: Subject, name: str, out: Path) -> None:
    from bitfit_probe.diagnosis.applying import apply_step, chosen_step

    apply_step(subject, chosen_step(subject, name), out)
