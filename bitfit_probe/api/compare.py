"""What moved between a base and those tuned from it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bitfit_probe.comparison import Progress, side
from bitfit_probe.pair import Pair, Reading, open_pairs
from bitfit_probe.records import Diff, Failure

if TYPE_CHECKING:
    from bitfit_probe.data import TaskData

__all__ = ["as_diff", "compared", "diff"]


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
        Figures a tensor, by role and layer, and a verdict for each tuned checkpoint; of several, those that
        could not be read or compared are its `failures`.

    Raises
    ------
    BitfitProbeError
        The base could not be read (BE1xx), or no tuned checkpoint could be read and aligned (BE2xx).

    Examples
    --------
    >>> import bitfit_probe as bp
    >>> from bitfit_probe import sample
    >>> report = bp.diff(sample.base_path(), sample.tuned_path())
    >>> report.comparisons[0].verdict
    'bitfit'
    """
    return as_diff(compared(base, tuned, Reading(state_dict_key, biases_only, trust_checksums, progress)))


def compared(
    base: str | Path, tuned: Sequence[str | Path], reading: Reading, data: TaskData | None = None
) -> tuple[Pair, ...]:
    """Open and compare, for all that is then asked of the pairs; some may lack a comparison.

    Raises
    ------
    BitfitProbeError
        The base can't be read, or none of the tuned checkpoints can be opened and compared.
    """
    pairs = open_pairs(base, tuned, reading, data=data)
    errors = [pair.error for pair in sorted(pairs, key=lambda pair: pair.opened)]
    if errors[0] is not None and all(errors):
        raise errors[0]
    return pairs


def as_diff(pairs: Sequence[Pair]) -> Diff:
    """What moved in pairs of which at least one could be compared, and why the others could not."""
    whole = [pair for pair in pairs if pair.compared]
    base, alignment = whole[-1].base, whole[-1].alignment
    return Diff(
        base=side(base, alignment, tuned_side=False),
        architecture=alignment.architecture.family,
        architecture_known_from=alignment.architecture.known_from,
        comparisons=tuple(pair.comparison for pair in whole),
        failures=tuple(Failure.of(pair.path, pair.error) for pair in pairs if pair.error is not None),
    )
