"""The frozen bundle that renderers receive."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from bitfit_probe.frozen import Frozen

if TYPE_CHECKING:
    from bitfit_probe.records.diagnosis import Diagnosed
    from bitfit_probe.records.diff import Diff
    from bitfit_probe.records.evidence import Evidence
    from bitfit_probe.records.findings import Check
    from bitfit_probe.records.forms import Forms
    from bitfit_probe.records.measures import Adequacy, Likeness, Ranking, Reverting, Spectrum, Trajectory
    from bitfit_probe.records.recommendation import Recommended

__all__ = ["Measured", "Report", "Run"]


class Run(Frozen):
    """What lies beside a tuned checkpoint's weights about its training, and its size on disk.

    Attributes
    ----------
    steps, rate
        Optimizer steps and highest learning rate; None where no log says.
    losses, eval_losses, rates
        Values by step, as they were logged.
    bytes
        Of the files that tensors were read from.
    dtype
        Element type of most parameters.
    """

    steps: int | None = None
    rate: float | None = None
    losses: tuple[tuple[int, float], ...] = ()
    eval_losses: tuple[tuple[int, float], ...] = ()
    rates: tuple[tuple[int, float], ...] = ()
    bytes: int = 0
    dtype: str = ""


class Measured(Frozen):
    """What was measured on one comparison; None or empty where it was not asked for.

    `no_spectrum` names the moved matrices whose singular values were left out, each with the reason.
    """

    rankings: tuple[Ranking, ...] = ()
    adequacy: Adequacy | None = None
    spectra: tuple[Spectrum, ...] = ()
    reverting: Reverting | None = None
    no_spectrum: tuple[tuple[str, str], ...] = ()
    forms: Forms | None = None
    run: Run | None = None


class Report(Frozen):
    """Everything that is known of a base and what was tuned from it.

    Attributes
    ----------
    diff
        What moved.
    measured
        One a comparison of `diff`, in its order.
    check
        Findings, and what was not checked.
    likeness, trajectory
        Several tuned checkpoints side by side, and as one run.
    evidence
        How far the task is, where data was given.
    files
        Input files by path, with their sha256 where it was asked for.
    version
        Of bitfit-probe, that made it.
    recommended
        Which method to take, where that was asked.
    diagnosed
        How good the tuned models are, and what would make them better, where data was given.
    data, rows
        File of the labelled examples, and how many it holds; empty where there was none.
    date
        Of the newest file, or as asked; empty where it was not asked for.
    """

    diff: Diff
    measured: tuple[Measured, ...] = ()
    check: Check | None = None
    likeness: tuple[Likeness, ...] = ()
    trajectory: Trajectory | None = None
    evidence: tuple[Evidence, ...] = ()
    files: tuple[tuple[str, str], ...] = field(default=())
    version: str = ""
    recommended: Recommended | None = None
    diagnosed: Diagnosed | None = None
    data: str = ""
    rows: int = 0
    date: str = ""
