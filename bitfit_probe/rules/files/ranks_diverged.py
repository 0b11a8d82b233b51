"""BP113."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bitfit_probe.checkpoint import Checkpoint, open_checkpoint
from bitfit_probe.errors import BitfitProbeError
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import CannotTell, Rule, rule
from bitfit_probe.rules.samples import differing
from bitfit_probe.wording import join_names, plural

__all__ = ["rank_of", "ranks_diverged"]

#: Names of whole copies that ranks saved; those of shares of a model (mp_rank, zero_pp_rank) are none.
_RANK = re.compile(r"(?<![a-z])rank[-_]?(\d+)", re.IGNORECASE)
_SHARES = re.compile(r"mp_rank|pp_rank|tp_rank|shard|optim", re.IGNORECASE)


@rule("BP113", "ranks-diverged", "error", explains=("BP112",), catalogue=(51,))
def ranks_diverged(pair: Pair, this: Rule) -> Iterator[Finding]:
    """Two ranks of one data-parallel job hold different weights.

    What it means
    -------------
    Data parallelism keeps the copies equal by averaging gradients. They fell apart: parameters outside the
    wrapper, a rank that skipped a step, or random seeds that differ where they must not.

    Why it matters
    --------------
    Every rank trained a model of its own on a part of the data, and the one that was saved is one of them.

    How it is recognised
    --------------------
    Files of the same tensors that differ in the rank of their names (`model_rank0`, `model_rank1`), given
    as tuned checkpoints or lying side by side, differ in their values.

    What to do
    ----------
    Compare the ranks after the first step; wrap everything that trains, and check that all ranks call
    `step()` equally often.

    References
    ----------
    pytorch/pytorch#128949
    """
    own = rank_of(pair.tuned)
    copies = list(_copies(pair)) if own is not None else []
    if not copies:
        raise CannotTell("the files of two ranks are needed")
    for other in copies:
        names = differing(pair.tuned, other)
        if names:
            yield this.finding(
                f"Ranks {own} and {rank_of(other)} hold different weights: {plural(len(names), 'tensor')} of "
                f"{len(pair.tuned.tensors)} differ ({join_names(names, 2)}).",
                subjects=(pair.tuned.path.name, other.path.name),
                evidence=(Evidence("differing_tensors", len(names), "tensors"),),
            )


def rank_of(checkpoint: Checkpoint) -> int | None:
    """The rank in a checkpoint's name; None where there is none, or where it holds a share of a model."""
    found = _RANK.search(checkpoint.path.name)
    return int(found[1]) if found and not _SHARES.search(checkpoint.path.name) else None


def _copies(pair: Pair) -> Iterator[Checkpoint]:
    """Other ranks: those that were given after this one, else those beside it with a higher number."""
    given = [other for other in pair.others if rank_of(other) is not None]
    for other in given or _beside(pair.tuned):
        if other.tensors.keys() == pair.tuned.tensors.keys():
            yield other


def _beside(tuned: Checkpoint) -> Iterator[Checkpoint]:
    stem = _RANK.sub("rank#", tuned.path.name)
    for path in sorted(tuned.path.parent.iterdir()):
        if path.name > tuned.path.name and _RANK.sub("rank#", path.name) == stem:
            try:
                yield open_checkpoint(path)
            except BitfitProbeError:
                continue
