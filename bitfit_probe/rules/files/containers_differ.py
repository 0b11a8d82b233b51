"""BP115."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bitfit_probe.checkpoint import Checkpoint, open_checkpoint
from bitfit_probe.comparison import compare
from bitfit_probe.comparison.coverage import in_body
from bitfit_probe.errors import BitfitProbeError
from bitfit_probe.pair import Pair
from bitfit_probe.records import Comparison, Evidence, Finding
from bitfit_probe.rules.engine.rule import CannotTell, Rule, rule

__all__ = ["containers_differ"]


@rule("BP115", "containers-differ", "warning", needs=("tuned",), explains=("BP712",), catalogue=(54,))
def containers_differ(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The folder holds its weights twice, and the two are not the same.

    What it means
    -------------
    ``model.safetensors``, ``pytorch_model.bin`` or an index of shards lie side by side and hold different
    tensors. transformers reads the first of them in that order, safetensors before pickles and a single
    file before shards; other loaders, older versions and ``use_safetensors=False`` read another one.

    Why it matters
    --------------
    Which model is served hangs on the loader. Where the one that is read is the base, what was trained lies
    in the file that nobody reads.

    How it is recognised
    --------------------
    Names and shapes first, then the bytes of both. A difference that a cast explains is none, and neither is
    an index whose shards are gone. An error where the body that is read is the base's and the other's is not.

    What to do
    ----------
    Find out which one was saved last, and delete the other.

    References
    ----------
    huggingface/diffusers#14769
    """
    tuned = pair.tuned
    for path in tuned.siblings:
        other = _other(path)
        if other is not None:
            yield from _difference(pair, tuned, path, other, this)


def _other(path: Path) -> Checkpoint | None:
    """The weights that lie in `path`; None where a stale index, or a file that is none, holds none."""
    try:
        return open_checkpoint(path)
    except BitfitProbeError:
        return None


def _difference(
    pair: Pair, tuned: Checkpoint, path: Path, other: Checkpoint, this: Rule
) -> Iterator[Finding]:
    read = tuned.files[0].path.name
    try:
        found, _ = compare(tuned, other)
    except BitfitProbeError as error:
        raise CannotTell(f"{path.name} beside {read} can't be compared with it: {error.what}") from error
    moved = found.summary.changed_tensors
    lonely = [item.name for item in (*found.unmatched_base, *found.unmatched_tuned) if item.why != "tied"]
    if not moved and not lonely:
        return
    parts = [f"{moved} of {found.summary.compared_tensors} tensors differ"] if moved else []
    parts += [f"{len(lonely)} are in one of them only or of another shape"] if lonely else []
    names = [*dict.fromkeys(row.name for row in found.tensors if row.moved), *lonely]
    untrained = _untrained(pair, found)
    more = " What is read has the body of the base: what was trained lies in the other." if untrained else ""
    yield this.finding(
        f"'{read}', which is read, and '{path.name}' beside it hold different weights: "
        f"{' and '.join(parts)}.{more}",
        severity="error" if untrained else "warning",
        subjects=tuple(names)[:10],
        evidence=_evidence(found, len(lonely)),
    )


def _untrained(pair: Pair, found: Comparison) -> bool:
    """Whether the body that is read is the base's, and that of the other container is not."""
    if not pair.compared or pair.comparison.adapter is not None:
        return False
    at_rest = pair.comparison.verdict in ("identical", "rounding-only", "head-only")
    return at_rest and any(row.moved and in_body(row.info) for row in found.tensors)


def _evidence(found: Comparison, lonely: int) -> tuple[Evidence, ...]:
    return (
        Evidence("differing_tensors", found.summary.changed_tensors, "tensors"),
        Evidence("compared_tensors", found.summary.compared_tensors, "tensors"),
        Evidence("tensors_in_one_only", lonely, "tensors"),
    )
