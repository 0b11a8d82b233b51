"""Which of several bases a checkpoint was tuned from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from bitfit_probe.align import align
from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.errors import BitfitProbeError, NothingAlignsError, ShapesError, shown
from bitfit_probe.measures.nearest_base import candidate, nearer, standing
from bitfit_probe.pair import Reading
from bitfit_probe.records.identification import Candidate, Identified

__all__ = ["identify"]

#: Where files name the model that training started from.
_NAMES = (("adapter_config.json", "base_model_name_or_path"), ("config.json", "_name_or_path"))


def identify(tuned: str | Path, *bases: str | Path, seed: int = 0) -> Identified:
    """Say which base a checkpoint was tuned from, from samples of rows of its matrices.

    Parameters
    ----------
    tuned, *bases
        As for `diff`; at least one base.
    seed
        Which matrices and rows are looked at.

    Returns
    -------
    Identified
        The nearest base first. One whose matrices have little to do with the checkpoint's is none.

    Raises
    ------
    BitfitProbeError
        The checkpoint can't be read, or no base can. Of several, one that can't be is listed with the reason.
    ValueError
        No base is given.

    Examples
    --------
    >>> import bitfit_probe as bp
    >>> from bitfit_probe import sample
    >>> found = bp.identify(sample.tuned_path(), sample.base_path())
    >>> found.standing, found.candidates[0].distance
    ('told', 0.0)
    """
    if not bases:
        raise ValueError("give at least one base")
    checkpoint = Reading().open(tuned)
    named = _named(checkpoint)
    failures: list[BitfitProbeError] = []
    found = sorted((_candidate(checkpoint, base, named, seed, failures) for base in bases), key=_nearness)
    if len(failures) == len(bases):
        raise failures[0]
    candidates = tuple(item for item, _ in found)
    share = nearer(found[0][1], found[1][1]) if len(found) > 1 else None
    stands, margin = standing(candidates, share)
    return Identified(shown(checkpoint.path), stands, candidates, margin, share, named)


_Found = tuple[Candidate, Mapping[str, float]]


def _candidate(
    tuned: Checkpoint, path: str | Path, named: str | None, seed: int, failures: list[BitfitProbeError]
) -> _Found:
    name = shown(Path(path))
    is_named = named is not None and PurePosixPath(named).name == PurePosixPath(str(path)).name
    if tuned.adapter is not None:
        return Candidate(name, is_named=is_named, why="an adapter holds nothing of its base to compare"), {}
    try:
        base = Reading().open(path)
        pairs = align(base, tuned).pairs
        found, distances = candidate(name, pairs, seed)
        base.check_unchanged()
    except BitfitProbeError as error:
        is_other = isinstance(error, (NothingAlignsError, ShapesError))
        failures += [] if is_other else [error]
        return Candidate(name, is_named=is_named, why=error.what, is_other=is_other), {}
    matrices = [tensor for tensor in tuned.tensors.values() if len(tensor.shape) > 1]
    partners = {pair.tuned.name for pair in pairs}
    share = sum(tensor.name in partners for tensor in matrices) / max(len(matrices), 1)
    return replace(found, coverage=share, is_named=is_named), distances


def _named(checkpoint: Checkpoint) -> str | None:
    stated = ((checkpoint.read_json(file) or {}).get(key) for file, key in _NAMES)
    return next((name for name in stated if isinstance(name, str) and name), None)


def _nearness(found: _Found) -> tuple[bool, float, bool]:
    item, _ = found
    return item.distance is None, item.distance or 0.0, not item.is_named
