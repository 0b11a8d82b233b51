"""BP109."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.checkpoint.layouts.dcp import METADATA
from bitfit_probe.checkpoint.registry import trained
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule

__all__ = ["partial_save"]

_FLAT = re.compile(r"(^|\.)_?flat_param(_\d+)?$")
_DCP = re.compile(r"__(\d+)_(\d+)\.distcp")
_STEP = re.compile(r"^(?:checkpoint|step|global_step)[-_]?(\d+)$")
#: A save with less than this share of an earlier one's bytes lost something, unless a cast to 16 bits or
#: a second copy of the weights explains it: those halve it, give or take headers.
_SHRUNK = 0.9
_HALF = (0.45, 0.55)
_MAX_METADATA = 64 << 20


@rule(
    "BP109",
    "partial-save",
    "error",
    needs=(),
    explains=(
        "BP101",
        "BP102",
        "BP107",
        "BP114",
        "BP401",
        "BP404",
        "BP405",
        "BP412",
        "BP601",
        "BP701",
        "BP702",
        "BP703",
        "BP704",
    ),
    catalogue=(41,),
)
def partial_save(pair: Pair, this: Rule) -> Iterator[Finding]:
    """Only a part of a distributed save is there.

    What it means
    -------------
    The weights were saved as FSDP's flat parameters, or as a torch.distributed.checkpoint folder of which
    files are missing, or a later checkpoint of the run is smaller than the first: one rank's share.

    Why it matters
    --------------
    No loader can build the whole model from it; those that ignore missing tensors start them at random.

    How it is recognised
    --------------------
    Tensors called ``_flat_param``; ``.distcp`` files without ``.metadata``, or fewer of them than it names;
    a ``checkpoint-N`` with weights below 90 % of the bytes of an earlier one of the same element type.

    What to do
    ----------
    Gather before saving (``StateDictType.FULL_STATE_DICT``, ``fsdp_state_dict_type: FULL_STATE_DICT``), or
    copy all ranks' files and merge them (``python -m torch.distributed.checkpoint.format_utils
    dcp_to_torch``, ``accelerate merge-weights``).

    References
    ----------
    Lightning-AI/pytorch-lightning#17566, huggingface/transformers#31034
    """
    yield from _distributed(pair.folder, this)
    if pair.opened:
        yield from _flat(pair.tuned, this)
        yield from _shrunk(pair, pair.tuned, this)


def _flat(tuned: Checkpoint, this: Rule) -> Iterator[Finding]:
    flat = [name for name in tuned.tensors if _FLAT.search(name)]
    if flat:
        yield this.finding(
            f"{len(flat)} tensors are flat parameters of FSDP, such as '{flat[0]}': each holds a whole block "
            "of weights in one vector, or one rank's share of it, and no model loads them.",
            subjects=tuple(flat)[:10],
            evidence=(Evidence("flat_parameters", len(flat), "tensors"),),
            advice="Save with FULL_STATE_DICT, so that FSDP gathers and names the weights.",
        )


def _distributed(folder: Path, this: Rule) -> Iterator[Finding]:
    try:
        there = {path.name for path in folder.iterdir() if _DCP.fullmatch(path.name)}
    except OSError:
        return
    metadata = folder / METADATA
    if not there:
        return
    if not metadata.is_file():
        yield this.finding(
            f"{len(there)} .distcp files without the .metadata that says what is in them: the "
            "distributed save "
            "did not finish or was copied in part, and can't be loaded.",
            subjects=(str(metadata),),
            evidence=(Evidence("distcp_files", len(there), "files"),),
            advice="Copy .metadata along (it is a hidden file), or take an earlier checkpoint.",
        )
        return
    named = {found.group() for found in _DCP.finditer(_text(metadata))}
    absent = sorted(named - there)
    if absent:
        yield this.finding(
            f"{len(absent)} of {len(named)} .distcp files that .metadata names are absent, such as "
            f"'{absent[0]}': that rank's share of the weights is missing.",
            subjects=tuple(absent)[:10],
            evidence=(Evidence("absent_files", len(absent), "files"),),
            advice="Copy the files of all ranks into one folder.",
        )


def _text(path: Path) -> str:
    """The file as text: names of files stand in its pickle as plain bytes, and nothing of it is run."""
    with path.open("rb") as file:
        return file.read(_MAX_METADATA).decode("latin-1")


def _shrunk(pair: Pair, tuned: Checkpoint, this: Rule) -> Iterator[Finding]:
    own = _STEP.match(pair.folder.name)
    if not own or len({tensor.dtype.name for tensor in tuned.tensors.values()}) != 1:
        return
    now = int(own.group(1))
    size = _bytes(pair.folder)
    for step, path in sorted(_steps(pair.folder.resolve().parent)):
        before = _bytes(path) if step < now else 0
        if before and _lost(size / before):
            yield this.finding(
                f"The weights of step {now} take {size:,} bytes, those of step {step} took {before:,}: "
                f"{100 * (1 - size / before):.0f} % of the model was not saved.",
                subjects=(str(path),),
                evidence=(Evidence("size_ratio", size / before, "share", about=path.name),),
                advice="Take the earlier checkpoint, and gather the weights of all ranks on every save.",
            )
            return


def _steps(folder: Path) -> Iterator[tuple[int, Path]]:
    """The run's checkpoint folders with their steps."""
    try:
        for path in folder.iterdir():
            if (found := _STEP.match(path.name)) and path.is_dir():
                yield int(found.group(1)), path
    except OSError:
        return


def _lost(ratio: float) -> bool:
    """Whether a save of that size lacks something; half the size is a cast to 16 bits."""
    return 0 < ratio < _SHRUNK and not _HALF[0] <= ratio <= _HALF[1]


def _bytes(folder: Path) -> int:
    names = map(Path, (*trained().whole, *trained().adapters))
    patterns = (f"{name.stem}*{name.suffix}" for name in names)  # shards as well
    return sum(path.stat().st_size for pattern in patterns for path in folder.glob(pattern))
