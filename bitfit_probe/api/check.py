"""What is wrong with tuned checkpoints, and what a finding means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bitfit_probe.comparison import Progress
from bitfit_probe.pair import Reading, open_pairs
from bitfit_probe.records import Check, Explanation
from bitfit_probe.records.options import CheckOptions

if TYPE_CHECKING:
    from bitfit_probe.data import TaskData

__all__ = ["check", "explain", "explanations"]


def check(
    base: str | Path,
    *tuned: str | Path,
    data: TaskData | str | Path | None = None,
    options: CheckOptions | None = None,
    progress: Progress | None = None,
) -> Check:
    """Say what is wrong with tuned checkpoints, worst first, and what could not be checked.

    Parameters
    ----------
    base, *tuned
        As for `diff`.
    data
        Labelled examples, or a file of them: lets rules run the model on a few of them.
    options
        Which rules run, what they are told to expect, and what is read.
    progress
        Called with the bytes done and the bytes to do.

    Raises
    ------
    BitfitProbeError
        The base can't be read, or no tuned checkpoint can be and no rule says why. Where some can, the others
        are `failures`.
    ValueError
        No rule begins with a code in the options.

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

    asked = options or CheckOptions()
    reading = Reading(asked.state_dict_key, build=asked.build, expect=asked.expect, progress=progress)
    pairs = open_pairs(base, tuned, reading, data=None if data is None else as_examples(data))
    return judge(pairs, select=asked.select, ignore=asked.ignore)


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
