"""BP112."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bitfit_probe.checkpoint import Checkpoint, Tensor
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules import running
from bitfit_probe.rules.engine.rule import CannotTell, Rule, rule
from bitfit_probe.rules.files.ranks_diverged import rank_of
from bitfit_probe.rules.samples import differing
from bitfit_probe.wording import join_names, plural

__all__ = ["loader_changed"]

#: Two steps of one run differ in nearly all that was trained; a loader leaves most of that as it was.
MOST_KEPT = 0.5
#: Elements of each tensor to compare with the loaded model.
_ELEMENTS = 1 << 14


@rule("BP112", "loader-changed-weights", "error", catalogue=(50,))
def loader_changed(pair: Pair, this: Rule) -> Iterator[Finding]:
    """A second copy of the same weights, such as a dump of the running model, differs from the file.

    What it means
    -------------
    Whatever loaded the file put other values in place: it initialised again what it did not recognise, or
    converted a layout, without naming a missing key.

    Why it matters
    --------------
    The served model is not the one in the file, and nothing says so.

    How it is recognised
    --------------------
    Give the file and the dump of the live model (`torch.save(model.state_dict(), …)`) as two tuned
    checkpoints. Most tensors that training moved are the same in both, but a few tensors differ. With
    `--data`, the model is also loaded as the installed transformers does, and compared with its own file.

    What to do
    ----------
    Load with the version of the library that saved it, compare the live state again, and report it to the
    loader's authors.

    References
    ----------
    huggingface/transformers#46620, huggingface/transformers#48154
    """
    others = [other for other in pair.others if rank_of(other) is None]
    if not others and pair.data is None:
        raise CannotTell("only one copy of the tuned weights was given")
    yield from _dumped(pair, others, this)
    if pair.data is not None:
        yield from _loaded(pair, this)


def _dumped(pair: Pair, others: Sequence[Checkpoint], this: Rule) -> Iterator[Finding]:
    trained = {row.tuned_name for row in pair.comparison.tensors if row.moved}
    for other in others:
        if other.tensors.keys() != pair.tuned.tensors.keys():
            continue
        names = differing(pair.tuned, other)
        kept = trained - set(names)
        if not names or not trained or len(kept) < MOST_KEPT * len(trained):
            continue
        yield this.finding(
            f"{plural(len(names), 'tensor')} in {other.path.name} differ from the file, though the other "
            f"{len(kept)} trained ones agree: {join_names(names)}. A loader changed them.",
            subjects=tuple(names),
            evidence=(
                Evidence("differing_tensors", len(names), "tensors"),
                Evidence("agreeing_trained_tensors", len(kept), "tensors"),
            ),
        )


def _loaded(pair: Pair, this: Rule) -> Iterator[Finding]:
    """Compare what transformers makes of the file with the file."""
    with running.told():
        live = pair.live("tuned")
    stored, loaded = live.checkpoint.tensors, live.body.state_dict() | live.model.state_dict()
    both = [name for name in loaded if name in stored]
    names = [name for name in both if not _agree(stored[name], loaded[name])]
    if names:
        yield this.finding(
            f"transformers changed {plural(len(names), 'tensor')} of {len(both)} while it loaded the file: "
            f"{join_names(names)}.",
            subjects=tuple(names),
            evidence=(Evidence("differing_tensors", len(names), "tensors"),),
        )


def _agree(stored: Tensor, live: Any) -> bool:
    if tuple(live.shape) != stored.shape:
        return False
    count = min(stored.size, _ELEMENTS)
    ours = stored.block(0, count).astype(np.float32)
    return bool(np.array_equal(ours, live.reshape(-1)[:count].float().numpy(), equal_nan=True))
