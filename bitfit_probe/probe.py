"""Where the rooms meet: from paths to a result."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bitfit_probe.align import Alignment, align
from bitfit_probe.checkpoint import Checkpoint, open_checkpoint
from bitfit_probe.comparison import Progress, side
from bitfit_probe.pair import Pair, Reading, open_pairs
from bitfit_probe.records import Check, Diff, Explanation

if TYPE_CHECKING:
    from bitfit_probe.data import TaskData
    from bitfit_probe.records.measures import By, Likeness, Trajectory
    from bitfit_probe.records.report import Measured, Report

__all__ = ["check", "compared", "describe", "diff", "explain", "explanations", "probe"]


def diff(
    base: str | Path,
    *tuned: str | Path,
    state_dict_key: str | None = None,
    biases_only: bool = False,
    trust_checksums: bool = False,
    progress: Progress | None = None,
) -> Diff:
    """Say what moved between a base checkpoint and those tuned from it.

    Parameters
    ----------
    base, *tuned
        Weight files, indexes of shards, directories in the Hugging Face layout, models on the Hugging Face
        Hub (``org/name`` or ``org/name@revision``), or URLs of files. What exists here wins.
    state_dict_key
        Which state dict to take where a file holds several, such as ``model`` or ``ema``.
    biases_only
        Read biases only; everything else counts as not checked. From the Hub or a URL, only headers and
        biases of safetensors files are fetched then.
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
    return _as_diff(compared(base, tuned, Reading(state_dict_key, biases_only, trust_checksums, progress)))


def probe(
    base: str | Path,
    *tuned: str | Path,
    state_dict_key: str | None = None,
    biases_only: bool = False,
    trust_checksums: bool = False,
    by: By | Sequence[By] = ("role", "layer", "tensor"),
    paper: bool = False,
    spectra: bool = False,
    adapter: str | Path | None = None,
    trajectory: bool = False,
    hashes: bool = False,
    judge: bool = False,
    data: TaskData | str | Path | None = None,
    progress: Progress | None = None,
    spectra_progress: Progress | None = None,
) -> Report:
    """Say what moved, by every measure that the files alone allow.

    Parameters
    ----------
    base, *tuned, state_dict_key, biases_only, trust_checksums, progress
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
    judge
        Look for known failures too, as `check` does.
    data
        Labelled examples, or a file of them, for the rules that run the model on a few of them.
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
    pairs = compared(base, tuned, Reading(state_dict_key, biases_only, trust_checksums, progress), data)
    return describe(
        pairs,
        by=by,
        paper=paper,
        spectra=spectra,
        adapter=adapter,
        trajectory=trajectory,
        hashes=hashes,
        judge=judge,
        progress=spectra_progress,
    )


def describe(
    pairs: Sequence[Pair],
    *,
    by: By | Sequence[By] = ("role", "layer", "tensor"),
    paper: bool = False,
    spectra: bool = False,
    adapter: str | Path | None = None,
    trajectory: bool = False,
    hashes: bool = False,
    judge: bool = False,
    progress: Progress | None = None,
) -> Report:
    """`probe` for checkpoints that are open and compared already; `progress` is that of the spectra."""
    from bitfit_probe.records.report import Report
    from bitfit_probe.version import __version__

    updates = align(pairs[0].base, open_checkpoint(adapter)) if spectra and adapter is not None else None
    groupings = (by,) if isinstance(by, str) else by
    measured = [_measured(pair, groupings, paper, spectra, updates, progress) for pair in pairs]
    several = len(pairs) > 1
    report = Report(
        diff=_as_diff(pairs),
        measured=tuple(measured),
        check=_judged(pairs) if judge else None,
        likeness=_likeness(pairs) if several else (),
        trajectory=_trajectory(pairs) if several and trajectory else None,
        files=_hashes([pairs[0].base, *(pair.tuned for pair in pairs)]) if hashes else (),
        version=__version__,
    )
    for pair in pairs:
        pair.check_unchanged()
    return report


def compared(
    base: str | Path, tuned: Sequence[str | Path], reading: Reading, data: TaskData | str | Path | None = None
) -> tuple[Pair, ...]:
    """Open and compare, for all that is then asked of the pairs.

    Raises
    ------
    BitfitProbeError
        The base or the data can't be read, or a tuned checkpoint can't be opened or compared.
    """
    pairs = open_pairs(base, tuned, reading, data=_examples(data))
    for pair in sorted(pairs, key=lambda pair: pair.opened):  # before any is compared
        if pair.error is not None:
            raise pair.error
    return pairs


def _as_diff(pairs: Sequence[Pair]) -> Diff:
    base, alignment = pairs[-1].base, pairs[-1].alignment
    return Diff(
        base=side(base, alignment, tuned_side=False),
        architecture=alignment.architecture.family,
        architecture_known_from=alignment.architecture.known_from,
        comparisons=tuple(pair.comparison for pair in pairs),
    )


def _measured(
    pair: Pair,
    by: Sequence[By],
    paper: bool,
    with_spectra: bool,
    updates: Alignment | None,
    progress: Progress | None,
) -> Measured:
    from bitfit_probe.measures.ranking import rank
    from bitfit_probe.measures.training_sufficiency import adequacy
    from bitfit_probe.records.report import Measured

    rankings = tuple(rank(pair.comparison, each, paper=paper) for each in by)
    enough = adequacy(pair.comparison, pair.trainer_state)
    if not with_spectra:
        return Measured(rankings, enough)
    from bitfit_probe.measures.spectra import left_out, spectra

    found = spectra(pair.alignment, pair.comparison, adapter=updates, progress=progress)
    return Measured(rankings, enough, found, no_spectrum=left_out(pair.comparison))


def _likeness(pairs: Sequence[Pair]) -> tuple[Likeness, ...]:
    from bitfit_probe.measures.delta_similarity import likeness

    alignments, comparisons = [pair.alignment for pair in pairs], [pair.comparison for pair in pairs]
    return likeness(alignments, comparisons)


def _trajectory(pairs: Sequence[Pair]) -> Trajectory:
    from bitfit_probe.measures.trajectory import order, trajectory

    steps, known_from = order([pair.tuned for pair in pairs])
    alignments, comparisons = [pair.alignment for pair in pairs], [pair.comparison for pair in pairs]
    return trajectory(alignments, comparisons, steps, steps_from=known_from)


def _judged(pairs: Sequence[Pair]) -> Check:
    from bitfit_probe.rules import check as find

    return find(pairs)


def _examples(data: TaskData | str | Path | None) -> TaskData | None:
    if data is None:
        return None
    from bitfit_probe.data import as_examples

    return as_examples(data)


def _hashes(checkpoints: Sequence[Checkpoint]) -> tuple[tuple[str, str], ...]:
    files = {str(file.path): file for checkpoint in checkpoints for file in checkpoint.files}
    return tuple((path, file.sha256()) for path, file in files.items())


def check(
    base: str | Path,
    *tuned: str | Path,
    data: TaskData | str | Path | None = None,
    state_dict_key: str | None = None,
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
    state_dict_key
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

    pairs = open_pairs(base, tuned, Reading(state_dict_key, progress=progress), data=_examples(data))
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
