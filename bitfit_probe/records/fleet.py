"""Many checkpoints of one base: a row each, and what they come to together."""

from __future__ import annotations

from typing import Literal

from bitfit_probe.frozen import Frozen
from bitfit_probe.records.failures import Failure
from bitfit_probe.records.severity import Severity

__all__ = ["Cluster", "Fleet", "FleetRow", "Found", "Outlier", "Standing"]

#: Whether the base that was given is the one a checkpoint was tuned from, by its matrices; ``unknown`` where
#: none was compared.
Standing = Literal["this", "another", "unknown"]


class Found(Frozen):
    """A finding in brief; the checkpoint's own file has all of it."""

    code: str
    severity: Severity


class FleetRow(Frozen):
    """One checkpoint of a fleet.

    Attributes
    ----------
    tuned
        Its path.
    status
        ``judged``, or ``failed`` where it could not be read or compared: `error` says why.
    seconds, nbytes
        What judging it took, and the bytes of its weights.
    result
        The file with its diff and findings, in the fleet's directory.
    verdict, headline, coverage
        As `diff` gives them; the share of the base that was compared.
    changed_biases, biases, changed_tensors, compared_tensors, nonfinite_tensors, relative_l2
        As in `Summary`.
    bias_change
        ‖Δ‖₂ over the biases outside the head; None where none was compared.
    base_is, named_base
        Whether it was tuned from this base, and what its own files name as its base.
    findings
        What `check` found.
    contents
        The same for two checkpoints where every figure of every tensor is the same.
    direction
        A sketch of the change of its biases: cosines of two sketches estimate those of the changes. Empty
        where none moved.
    error
        Why it could not be judged.
    """

    tuned: str
    status: Literal["judged", "failed"]
    seconds: float = 0.0
    nbytes: int = 0
    result: str = ""
    verdict: str | None = None
    headline: str = ""
    coverage: float | None = None
    changed_biases: int = 0
    biases: int = 0
    changed_tensors: int = 0
    compared_tensors: int = 0
    nonfinite_tensors: int = 0
    relative_l2: float | None = None
    bias_change: float | None = None
    base_is: Standing = "unknown"
    named_base: str | None = None
    findings: tuple[Found, ...] = ()
    contents: str = ""
    direction: tuple[float, ...] = ()
    error: Failure | None = None

    @property
    def unmoved(self) -> bool:
        """Whether it was compared, and nothing was trained."""
        return self.verdict in ("identical", "rounding-only")


class Cluster(Frozen):
    """Checkpoints whose biases moved in one direction; `likeness` is the mean cosine to their mean."""

    members: tuple[str, ...]
    likeness: float


class Outlier(Frozen):
    """A checkpoint that is unlike the others, and in what."""

    tuned: str
    why: str


class Fleet(Frozen):
    """A base, the checkpoints that were judged beside it, and what stands out.

    Attributes
    ----------
    base, version
        The base's path, and the version of bitfit-probe that judged.
    rows
        One a checkpoint, by path.
    missing
        Checkpoints that were asked for and have no row: the run is not over, or was cut short.
    unmoved, blown_up
        Those in which nothing was trained; those with NaN or infinite values, or biases that moved ten times
        as far as the fleet's median.
    clusters, outliers, duplicates
        Which moved alike, which stand apart, and which are the same in every figure.
    """

    base: str
    version: str
    rows: tuple[FleetRow, ...]
    missing: tuple[str, ...] = ()
    unmoved: tuple[str, ...] = ()
    blown_up: tuple[str, ...] = ()
    clusters: tuple[Cluster, ...] = ()
    outliers: tuple[Outlier, ...] = ()
    duplicates: tuple[tuple[str, ...], ...] = ()

    @property
    def failed(self) -> tuple[FleetRow, ...]:
        """Those that could not be judged."""
        return tuple(row for row in self.rows if row.status == "failed")
