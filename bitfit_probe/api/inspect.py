"""One checkpoint without a base: what it holds, and whether it keeps what its files promise."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.comparison import Progress
from bitfit_probe.comparison.adapter import facts
from bitfit_probe.errors import shown
from bitfit_probe.inference.purpose import model_class
from bitfit_probe.measures.values import by_role, values_of
from bitfit_probe.pair import Reading
from bitfit_probe.promises import Case, promises_of
from bitfit_probe.promises import values as of_values
from bitfit_probe.records.diff import CheckpointInfo
from bitfit_probe.records.inspection import Inspection, TensorValues
from bitfit_probe.records.promises import Promises

__all__ = ["inspect"]


def inspect(
    path: str | Path,
    *,
    state_dict_key: str | None = None,
    build: bool = False,
    progress: Progress | None = None,
) -> Inspection:
    """Judge one checkpoint, or one adapter, without a base.

    Parameters
    ----------
    path
        As for `diff`.
    state_dict_key
        Which state dict to take where a file holds several, such as ``model`` or ``ema``.
    build
        Ask transformers which parameters the class in config.json has, which imports torch.
    progress
        Called with the elements done and the elements to do.

    Returns
    -------
    Inspection
        Broken promises stand first in its `promises`.

    Raises
    ------
    BitfitProbeError
        The checkpoint can't be read.

    Examples
    --------
    >>> import bitfit_probe as bp
    >>> from bitfit_probe import sample
    >>> found = bp.inspect(sample.tuned_path())
    >>> found.family, found.promises.of("broken")
    ('bert', ())
    """
    checkpoint = Reading(state_dict_key).open(path)
    case = Case(checkpoint, build=build)
    values = _values(case, progress)
    checkpoint.check_unchanged()
    promised = promises_of(case, of_values.promises([item for _, item in values]))
    return Inspection(
        checkpoint=_info(case),
        family=case.architecture.family,
        known_from=case.architecture.known_from,
        model_class=model_class(checkpoint.config),
        types=_types(checkpoint),
        files=tuple(sorted({file.path.name for file in checkpoint.files})),
        roles=by_role(values),
        promises=Promises(shown(checkpoint.path), promised.items),
        adapter=facts(checkpoint.adapter) if checkpoint.adapter is not None else None,
    )


def _values(case: Case, progress: Progress | None) -> list[tuple[str, TensorValues]]:
    """The role and the values of each tensor whose numbers can be told."""
    readable = [held for held in case.held.values() if held.tensor.dtype.decodable and held.tensor.size]
    total, done, found = sum(held.tensor.size for held in readable), 0, []
    for held in readable:
        role = "factors" if case.tuned.adapter is not None else held.info.role or held.info.kind
        found.append((role, values_of(held.tensor, held.info.kind)))
        done += held.tensor.size
        if progress is not None:
            progress(done, total)
    return found


def _info(case: Case) -> CheckpointInfo:
    checkpoint = case.tuned
    return CheckpointInfo(
        path=shown(checkpoint.path),
        format=checkpoint.format,
        tensors=len(checkpoint.tensors),
        parameters=checkpoint.parameters,
        biases=sum(held.info.kind == "bias" for held in case.held.values()),
        notes=checkpoint.notes,
        unread=checkpoint.unread,
    )


def _types(checkpoint: Checkpoint) -> dict[str, int]:
    sizes: Counter[str] = Counter()
    for tensor in checkpoint.tensors.values():
        sizes[tensor.dtype.name] += tensor.size
    return dict(sizes.most_common())
