"""DeepSpeed's ZeRO checkpoints, stages 1 to 3: the float32 weights put together from every rank's partition.

The rule is that of DeepSpeed's own ``zero_to_fp32.py``; the pickles are described, not run. In stages 1 and 2
each rank holds one stretch of the flat vector of all parameters, in stage 3 one stretch of each parameter.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bitfit_probe.checkpoint.interface import Checkpoint
from bitfit_probe.checkpoint.storage.joined import JoinedStorage
from bitfit_probe.checkpoint.storage.tensor import File, Tensor, contiguous_strides
from bitfit_probe.checkpoint.torch.archive import Archive
from bitfit_probe.checkpoint.torch.state import StateDict, tensors_of
from bitfit_probe.checkpoint.torch.unpickle import Inert, TensorRef
from bitfit_probe.errors import MissingShardError, UnsupportedError
from bitfit_probe.frozen import Frozen

__all__ = ["read"]


def read(step: Path, model_files: Sequence[Path], optimizer_files: Sequence[Path]) -> Checkpoint:
    """Find every parameter in the ranks' partitions, which stay in their files.

    Parameters
    ----------
    step
        The folder of one save.
    model_files, optimizer_files
        The states in it, in the order of the ranks.

    Raises
    ------
    MissingShardError
        A rank's file is absent.
    UnsupportedError
        The model is split in ways that ZeRO's rule does not cover.
    """
    models = [Archive(File(path)) for path in model_files]
    optimizers = [Archive(File(path)) for path in optimizer_files]
    ranks = {match[1] for path in model_files if (match := re.search(r"mp_rank_(\d+)", path.name))}
    if len(ranks) > 1:
        raise _refusal(step, f"a model in {len(ranks)} parts (tensor or pipeline parallel)")
    files = tuple(archive.file for archive in (*models, *optimizers))
    try:
        stage, tensors = _weights(step, models, optimizers)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise _refusal(step, f"DeepSpeed states of a layout that is not known ({error})") from error
    words = f"DeepSpeed ZeRO {stage}, {len(optimizers)} ranks" if stage else "DeepSpeed"
    return Checkpoint(step, words, tensors, files, (f"put together from {step.name}",))


def _refusal(step: Path, what: str) -> UnsupportedError:
    return UnsupportedError(
        what,
        advice=f"run its `python zero_to_fp32.py . merged` in {step.parent} and give the folder merged",
        path=step,
    )


def _weights(
    step: Path, models: Sequence[Archive], optimizers: Sequence[Archive]
) -> tuple[int, dict[str, Tensor]]:
    root = models[0].root
    module = tensors_of(StateDict("module", root["module"]), models[0].storage, models[0].file.path)
    if not optimizers or "param_shapes" not in root:
        return 0, module
    states = [_Partition.of(archive) for archive in optimizers]
    stage, count = states[0].stage, states[0].count
    if count != len(states):
        raise MissingShardError(
            f"holds the optimizer states of {len(states)} ranks, of {count}",
            advice="copy those of every rank",
            path=step,
        )
    # Below stage 3 the module is whole, though in the precision of training; in stage 3 it is empty shells.
    names = set(root["buffer_names"]) if stage == 3 else set(module)
    out = {name: tensor for name, tensor in module.items() if name in names}
    out |= _frozen(models if stage == 3 else models[:1])
    out |= _stage_3(root["param_shapes"], states) if stage == 3 else _stage_2(root["param_shapes"], states)
    for name, source in (root.get("shared_params") or {}).items():
        if source in out:
            out[name] = _named(name, out[source])
    return stage, out


class _Partition(Frozen):
    """One rank's stretch of the float32 weights, by parameter group."""

    stage: int
    count: int
    groups: tuple[Tensor, ...]
    paddings: list[list[int]] | None

    @classmethod
    def of(cls, archive: Archive) -> _Partition:
        state = archive.root["optimizer_state_dict"]
        stage, count = _integer(state["zero_stage"]), state["partition_count"]
        count = max(count) if isinstance(count, list) else count
        if stage not in (1, 2, 3) or type(count) is not int:
            raise ValueError(f"ZeRO stage {stage}")
        refs = state["fp32_flat_groups" if stage == 3 else "single_partition_of_fp32_groups"]
        groups = tuple(_flat(archive, ref) for ref in refs)
        return cls(stage, count, groups, state.get("param_alignment_paddings"))


def _integer(value: Any) -> Any:
    """A number, also where an enumeration wraps it."""
    return value.args[0] if isinstance(value, Inert) and value.args else value


def _flat(archive: Archive, ref: Any) -> Tensor:
    if not isinstance(ref, TensorRef):
        raise TypeError("a partition that is no tensor")
    (tensor,) = tensors_of(StateDict("", {"partition": ref}), archive.storage, archive.file.path).values()
    return tensor


def _frozen(models: Sequence[Archive]) -> dict[str, Tensor]:
    """Parameters that were not trained, which every model file holds a fragment of (stage 3), or whole."""
    shapes = models[0].root.get("frozen_param_shapes") or {}
    return {
        name: _windowed(
            name, shape, [_flat(model, model.root["frozen_param_fragments"][name]) for model in models]
        )
        for name, shape in shapes.items()
    }


def _stage_2(groups: Sequence[Mapping[str, Any]], states: Sequence[_Partition]) -> dict[str, Tensor]:
    """Each group is one vector, cut evenly between the ranks; parameters follow each other in it."""
    out = {}
    for number, shapes in enumerate(groups):
        whole = JoinedStorage([state.groups[number] for state in states])
        paddings = states[0].paddings[number] if states[0].paddings else [0] * len(shapes)
        at = 0
        for (name, shape), padding in zip(shapes.items(), paddings, strict=True):
            out[name] = Tensor(name, whole.dtype, shape, whole, at, contiguous_strides(shape))
            at += math.prod(shape) + padding
        held, step = whole.nbytes // whole.dtype.itemsize, 2 * len(states)
        if -(-at // step) != -(-held // step):  # the ranks' stretches are padded to a common length
            raise ValueError(f"partitions of {held} elements for {at}")
    return out


def _stage_3(groups: Sequence[Mapping[str, Any]], states: Sequence[_Partition]) -> dict[str, Tensor]:
    """Each parameter is cut evenly between the ranks, whose pieces follow each other in their vectors."""
    vectors = [JoinedStorage(state.groups) for state in states]
    out, at = {}, 0
    for name, shape in _items(groups):
        count = -(-math.prod(shape) // len(states))
        pieces = [Tensor(name, vector.dtype, (count,), vector, at, (1,)) for vector in vectors]
        out[name] = _windowed(name, shape, pieces)
        at += count
    if any(vector.nbytes != at * vector.dtype.itemsize for vector in vectors):
        raise ValueError("partitions longer than their parameters")
    return out


def _items(groups: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, tuple[int, ...]]]:
    for shapes in groups:
        yield from shapes.items()


def _windowed(name: str, shape: tuple[int, ...], pieces: Sequence[Tensor]) -> Tensor:
    """The tensor at the start of the joined pieces, behind which padding may stand."""
    whole = JoinedStorage(pieces)
    return Tensor(name, whole.dtype, shape, whole, 0, contiguous_strides(shape))


def _named(name: str, tensor: Tensor) -> Tensor:
    return Tensor(name, tensor.dtype, tensor.shape, tensor.storage, tensor.offset, tensor.strides)
