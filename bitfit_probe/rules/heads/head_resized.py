"""BP404."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.checkpoint import Tensor
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.heads.labels import label_count, logits
from bitfit_probe.rules.tensors import heads, is_adapter, word_embedding
from bitfit_probe.wording import plural

__all__ = ["head_resized"]

#: No trained weight of a head or an embedding comes near; uninitialised memory was seen at 1e37.
GARBAGE = 1e3
#: Rows of one block that are looked at: what a resize adds stands at the end.
_MOST = 1 << 22


@rule("BP404", "head-resized", "error", explains=("BP307", "BP308", "BP715"), catalogue=(19,))
def head_resized(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The head was resized away from its labels, or rows of it are garbage.

    What it means
    -------------
    The head has another number of rows than the base's and than config.json has labels; or a resize left
    values in the head or the embedding that no training produces.

    Why it matters
    --------------
    Loading stops on the shape, or draws a new head where mismatches are ignored. Garbage rows make their
    class or token win, or overflow to NaN, in rare batches only.

    How it is recognised
    --------------------
    Rows of the last projection against ``id2label`` (or ``num_labels``) and against the base's; any value
    beyond ±1000 in a head or in rows that the base's embedding lacks. (Resizing partitioned parameters under
    ZeRO left memory as it was: values up to 1e37.)

    What to do
    ----------
    Set ``num_labels``, ``id2label`` and ``label2id`` to the head that you trained. Fill new rows yourself
    after a resize, and gather them first under ZeRO.

    References
    ----------
    huggingface/transformers#28122, huggingface/transformers#31841
    """
    if is_adapter(pair.tuned):
        return
    yield from _garbage(pair, this)
    last, labels = logits(pair), label_count(pair.tuned)
    if last is None or labels is None or last.shape[0] == labels:
        return
    before = _base_rows(pair, last)
    if before is not None and before != last.shape[0]:
        yield this.finding(
            f"The head '{last.name}' has {last.shape[0]} rows, the base's has {before}, and config.json has "
            f"{labels} labels: it was resized and no longer fits its labels.",
            subjects=(last.name,),
            evidence=(
                Evidence("head_rows", last.shape[0], "rows", about=last.name),
                Evidence("base_rows", before, "rows"),
                Evidence("labels", labels, "labels", source="config.json"),
            ),
            advice="Write the labels of this head into config.json, or take the head that fits them.",
        )


def _base_rows(pair: Pair, last: Tensor) -> int | None:
    """Rows of the base's tensor of that name."""
    for name, tensor in pair.base.tensors.items():
        if (
            name == last.name or last.name.endswith(f".{name}") or name.endswith(f".{last.name}")
        ) and tensor.shape:
            return tensor.shape[0]
    return None


def _garbage(pair: Pair, this: Rule) -> Iterator[Finding]:
    suspects = [tensor for tensor in heads(pair).values() if 0 < tensor.size <= _MOST]
    table = word_embedding(pair.tuned)
    added = [item for item in pair.comparison.unmatched_tuned if item.why == "rows" and table is not None]
    if table is not None and any(item.name == table.name for item in added) and table.size <= _MOST:
        suspects.append(table)
    for tensor in suspects:
        values = abs(tensor.values())
        finite = values[values < float("inf")]
        worst = float(finite.max()) if finite.size else 0.0
        if worst > GARBAGE:
            count = int((finite > GARBAGE).sum())
            yield this.finding(
                f"'{tensor.name}' holds {plural(count, 'value')} beyond ±{GARBAGE:g}, the largest "
                f"{worst:.2g}: no training "
                "makes those; they are memory that a resize never filled.",
                subjects=(tensor.name,),
                evidence=(
                    Evidence("max_abs", worst, about=tensor.name),
                    Evidence("values", count, "elements"),
                ),
                advice="Draw those rows anew (mean of the others, or normal with initializer_range) and "
                "train them.",
            )
