"""What is wrong with tuned checkpoints, and what a finding means."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from bitfit_probe.comparison import Progress
from bitfit_probe.pair import Reading, open_pairs
from bitfit_probe.records import Check, Explanation
from bitfit_probe.records.options import Expected

if TYPE_CHECKING:
    from bitfit_probe.data import TaskData

__all__ = ["check", "explain", "explanations"]


def check(
    base: str | Path,
    *tuned: str | Path,
    data: TaskData | str | Path | None = None,
    state_dict_key: str | None = None,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    build: bool = False,
    expect: Expected | None = None,
    progress: Progress | None = None,
) -> Check:
    """Say what is wrong with tuned checkpoints, worst first, and what could not be checked.

    Parameters
    ----------
    base, *tuned
        As for `diff`.
    data
        Labelled examples, or a file of them: lets rules run the model on a few of them.
    state_dict_key
        Which state dict to take where a file holds several, such as ``model`` or ``ema``.
    select, ignore
        Codes of rules, or beginnings of codes (``BP2``), to run alone or to leave out.
    build
        Ask transformers which parameters the class in config.json has, which imports torch.
    expect
        The method that trained it; anything else that moved is an error.
    progress
        Called with the bytes done and the bytes to do.

    Raises
    ------
    BitfitProbeError
        The base can't be read, or no tuned checkpoint can be and no rule says why. Where some can, the others
        are `failures`.
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
    from bitfit_probe.data import as_examples
    from bitfit_probe.rules import check as judge

    examples = None if data is None else as_examples(data)
    pairs = open_pairs(
        base, tuned, Reading(state_dict_key, build=build, expect=expect, progress=progress), data=examples
    )
    return judge(pairs, select=select, ignore=ignore)


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
