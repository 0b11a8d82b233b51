"""Where the rooms meet: from paths to a result."""

from __future__ import annotations

from pathlib import Path

from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.diff import Progress, compare, side
from bitfit_probe.records import Diff

__all__ = ["diff"]


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
        Weight files, indexes of shards, directories in the Hugging Face layout, models on the Hugging Face
        Hub (``org/name`` or ``org/name@revision``), or URLs of files. What exists here wins.
    key
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
    if not tuned:
        raise ValueError("give at least one tuned checkpoint")
    ours = open_checkpoint(base, key, biases_only=biases_only)
    comparisons = []
    for path in tuned:
        comparison, alignment = compare(
            ours,
            open_checkpoint(path, key, biases_only=biases_only),
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
