"""Where the rooms meet: from paths to a result."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bitfit_probe.checkpoint import Checkpoint, open_checkpoint
from bitfit_probe.diff import Progress, compare, side
from bitfit_probe.errors import BitfitProbeError
from bitfit_probe.records import Check, Diff, Explanation

if TYPE_CHECKING:
    from bitfit_probe.data import TaskData
    from bitfit_probe.rules import Attempt

__all__ = ["attempts", "check", "diff", "explain", "explanations"]


def diff(
    base: str | Path,
    *tuned: str | Path,
    key: str | None = None,
    biases_only: bool = False,
    trust_checksums: bool = False,
    progress: Progress | None = None,
) -> Diff:
    """Say what moved between a base checkpoint and those tuned from it.

    Parameters
    ----------
    base, *tuned
        Weight files, indexes of shards, or directories in the Hugging Face layout.
    key
        Which state dict to take where a file holds several, such as ``model`` or ``ema``.
    biases_only
        Read biases only; everything else counts as not checked.
    trust_checksums
        Take equal CRC-32 of two zip archives for equal bytes, without reading them.
    progress
        Called with the bytes done and the bytes to do.

    Returns
    -------
    Diff
        Figures a tensor, by role and layer, and a verdict for each tuned checkpoint.

    Raises
    ------
    BitfitProbeError
        A checkpoint could not be read (BE1xx) or the two don't align (BE2xx).

    Examples
    --------
    >>> import bitfit_probe as bp
    >>> from bitfit_probe import sample
    >>> report = bp.diff(sample.base_path(), sample.tuned_path())
    >>> report.comparisons[0].verdict
    'bitfit'
    """
    if not tuned:
        raise ValueError("give at least one tuned checkpoint")
    ours = open_checkpoint(base, key)
    comparisons = []
    for path in tuned:
        comparison, alignment = compare(
            ours,
            open_checkpoint(path, key),
            biases_only=biases_only,
            trust_checksums=trust_checksums,
            progress=progress,
        )
        comparisons.append(comparison)
    return Diff(
        base=side(ours, alignment, tuned_side=False),
        architecture=alignment.architecture.family,
        architecture_known_from=alignment.architecture.known_from,
        comparisons=tuple(comparisons),
    )


def check(
    base: str | Path,
    *tuned: str | Path,
    data: TaskData | str | Path | None = None,
    key: str | None = None,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    progress: Progress | None = None,
) -> Check:
    """Say what is wrong with tuned checkpoints, worst first, and what could not be checked.

    Parameters
    ----------
    base, *tuned
        As for `diff`.
    data
        Labelled examples, or a file of them: lets rules run the model on a few of them.
    key
        Which state dict to take where a file holds several, such as ``model`` or ``ema``.
    select, ignore
        Codes of rules, or beginnings of codes (``BP2``), to run alone or to leave out.
    progress
        Called with the bytes done and the bytes to do.

    Raises
    ------
    BitfitProbeError
        The base can't be read, or a tuned checkpoint can't be and no rule says why.
    ValueError
        No rule begins with a code in `select` or `ignore`.

    Examples
    --------
    >>> import bitfit_probe as bp
    >>> from bitfit_probe import sample
    >>> found = bp.check(sample.base_path(), sample.tuned_path())
    >>> [(finding.code, finding.severity) for finding in found.findings]
    [('BP305', 'info')]
    """
    from bitfit_probe.rules import check as judge

    tried = attempts(base, tuned, data=data, key=key, progress=progress)
    return judge(tried, select=select, ignore=ignore)


def explain(code: str) -> Explanation:
    """What a code means, why it matters, how it is recognised and what to do.

    Raises
    ------
    KeyError
        No finding has that code.

    Examples
    --------
    >>> import bitfit_probe as bp
    >>> bp.explain("BP201").title
    'The tuned checkpoint is the base.'
    """
    from bitfit_probe.rules import all_rules

    return all_rules()[code.upper()].explanation


def explanations() -> tuple[Explanation, ...]:
    """What every code stands for, in the order of the codes."""
    from bitfit_probe.rules import all_rules

    return tuple(rule.explanation for rule in all_rules().values())


def attempts(
    base: str | Path,
    tuned: Sequence[str | Path],
    *,
    data: TaskData | str | Path | None = None,
    key: str | None = None,
    progress: Progress | None = None,
) -> list[Attempt]:
    """Open and compare what can be, for the rules to look at: one attempt a tuned checkpoint.

    Raises
    ------
    BitfitProbeError
        The base or the data can't be read.
    """
    if not tuned:
        raise ValueError("give at least one tuned checkpoint")
    ours = open_checkpoint(base, key)
    if isinstance(data, str | Path):
        from bitfit_probe.data import read_examples

        data = read_examples(data)
    tried = [_opened(ours, Path(path), key) for path in tuned]
    sides = [attempt.tuned for attempt in tried]
    return [
        _compared(attempt, data, tuple(side for side in sides[number:] if side is not None), progress)
        for number, attempt in enumerate(tried, 1)
    ]


def _opened(base: Checkpoint, path: Path, key: str | None) -> Attempt:
    from bitfit_probe.rules import Attempt

    try:
        return Attempt(base, path, open_checkpoint(path, key))
    except BitfitProbeError as error:
        return Attempt(base, path, error=error)


def _compared(
    attempt: Attempt,
    data: TaskData | None,
    others: tuple[Checkpoint, ...],
    progress: Progress | None,
) -> Attempt:
    from bitfit_probe.rules import Case

    if attempt.tuned is None:
        return attempt
    try:
        comparison, alignment = compare(attempt.base, attempt.tuned, progress=progress)
    except BitfitProbeError as error:
        return replace(attempt, error=error)
    return replace(attempt, case=Case(attempt.base, attempt.tuned, alignment, comparison, data, others))
