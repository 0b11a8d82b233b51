"""Where the rooms meet: from paths to a result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bitfit_probe.align import Alignment, align
from bitfit_probe.checkpoint import Checkpoint, open_checkpoint
from bitfit_probe.diff import Progress, compare, side
from bitfit_probe.records import Comparison, Diff

if TYPE_CHECKING:
    from bitfit_probe.records.measures import By, Likeness, Trajectory
    from bitfit_probe.records.report import Measured, Report

__all__ = ["diff", "probe"]


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
    ours, sides = _compared(base, tuned, key, biases_only, trust_checksums, progress)
    return _as_diff(ours, sides)


def probe(
    base: str | Path,
    *tuned: str | Path,
    key: str | None = None,
    biases_only: bool = False,
    trust_checksums: bool = False,
    by: By | Sequence[By] = ("role", "layer", "tensor"),
    paper: bool = False,
    spectra: bool = False,
    adapter: str | Path | None = None,
    trajectory: bool = False,
    hashes: bool = False,
    progress: Progress | None = None,
    spectra_progress: Progress | None = None,
) -> Report:
    """Say what moved, by every measure that the files alone allow.

    Parameters
    ----------
    base, *tuned, key, biases_only, trust_checksums, progress
        As for `diff`. Several tuned checkpoints are also compared with each other.
    by
        Grouping to rank the biases by, or several: ``role``, ``layer``, ``role-layer``, ``tensor``.
    paper
        Rank as in the BitFit paper: its order, its sums, biases inside layers only.
    spectra
        Take the singular values of the change of matrices, which costs minutes on a large model.
    adapter
        A PEFT adapter of factors, to tell how often it was merged; needs `spectra`.
    trajectory
        Take the tuned checkpoints for steps of one run.
    hashes
        Take the SHA-256 of every file that tensors were read from.
    spectra_progress
        Called with the matrix elements done and to do.

    Returns
    -------
    Report
        The diff, and one `Measured` a tuned checkpoint.

    Raises
    ------
    BitfitProbeError
        As for `diff`; also where the adapter can't be read or fits no matrix.

    Examples
    --------
    >>> import bitfit_probe as bp
    >>> from bitfit_probe import sample
    >>> report = bp.probe(sample.base_path(), sample.tuned_path())
    >>> report.measured[0].adequacy.state
    'healthy'
    """
    from bitfit_probe import __version__
    from bitfit_probe.records.report import Report

    ours, sides = _compared(base, tuned, key, biases_only, trust_checksums, progress)
    updates = align(ours, open_checkpoint(adapter)) if spectra and adapter is not None else None
    groupings = (by,) if isinstance(by, str) else by
    measured = [_measured(item, groupings, paper, spectra, updates, spectra_progress) for item in sides]
    several = len(sides) > 1
    report = Report(
        diff=_as_diff(ours, sides),
        measured=tuple(measured),
        likeness=_likeness(sides) if several else (),
        trajectory=_trajectory(sides) if several and trajectory else None,
        files=_hashes([ours, *(item.checkpoint for item in sides)]) if hashes else (),
        version=__version__,
    )
    for checkpoint in (ours, *(item.checkpoint for item in sides)):
        checkpoint.check_unchanged()
    return report


@dataclass(frozen=True)
class _Side:
    checkpoint: Checkpoint
    alignment: Alignment
    comparison: Comparison


def _compared(
    base: str | Path,
    tuned: Sequence[str | Path],
    key: str | None,
    biases_only: bool,
    trust_checksums: bool,
    progress: Progress | None,
) -> tuple[Checkpoint, list[_Side]]:
    if not tuned:
        raise ValueError("give at least one tuned checkpoint")
    ours, sides = open_checkpoint(base, key), []
    for path in tuned:
        theirs = open_checkpoint(path, key)
        comparison, alignment = compare(
            ours,
            theirs,
            biases_only=biases_only,
            trust_checksums=trust_checksums,
            progress=progress,
        )
        sides.append(_Side(theirs, alignment, comparison))
    return ours, sides


def _as_diff(ours: Checkpoint, sides: Sequence[_Side]) -> Diff:
    alignment = sides[-1].alignment
    return Diff(
        base=side(ours, alignment, tuned_side=False),
        architecture=alignment.architecture.family,
        architecture_known_from=alignment.architecture.known_from,
        comparisons=tuple(item.comparison for item in sides),
    )


def _measured(
    item: _Side,
    by: Sequence[By],
    paper: bool,
    with_spectra: bool,
    updates: Alignment | None,
    progress: Progress | None,
) -> Measured:
    from bitfit_probe.measures.adequacy import adequacy
    from bitfit_probe.measures.ranking import rank
    from bitfit_probe.records.report import Measured
    from bitfit_probe.rules.adequacy import LIMITS

    rankings = tuple(rank(item.comparison, each, paper=paper) for each in by)
    state = item.checkpoint.read_json("trainer_state.json")
    enough = adequacy(item.comparison, state, limits=LIMITS)
    if not with_spectra:
        return Measured(rankings, enough)
    from bitfit_probe.measures.spectra import left_out, spectra

    found = spectra(item.alignment, item.comparison, adapter=updates, progress=progress)
    return Measured(rankings, enough, found, no_spectrum=left_out(item.comparison))


def _likeness(sides: Sequence[_Side]) -> tuple[Likeness, ...]:
    from bitfit_probe.measures.likeness import likeness
    from bitfit_probe.rules.adequacy import ODD_GAP

    alignments, comparisons = [item.alignment for item in sides], [item.comparison for item in sides]
    return likeness(alignments, comparisons, gap=ODD_GAP)


def _trajectory(sides: Sequence[_Side]) -> Trajectory:
    from bitfit_probe.measures.trajectory import order, trajectory
    from bitfit_probe.rules.adequacy import STILL

    steps, known_from = order([item.checkpoint for item in sides])
    alignments, comparisons = [item.alignment for item in sides], [item.comparison for item in sides]
    return trajectory(alignments, comparisons, steps, still=STILL, steps_from=known_from)


def _hashes(checkpoints: Sequence[Checkpoint]) -> tuple[tuple[str, str], ...]:
    files = {str(file.path): file for checkpoint in checkpoints for file in checkpoint.files}
    return tuple((path, file.sha256()) for path, file in files.items())
