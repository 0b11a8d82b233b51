"""The index of a checkpoint in shards: every shard named, and as many as their names say."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bitfit_probe.checkpoint.registry import INDEX_END
from bitfit_probe.promises.case import Case
from bitfit_probe.records.promises import Promise
from bitfit_probe.wording import join_names, plural

__all__ = ["promises"]

_SHARD = re.compile(r"-(\d+)-of-(\d+)\.\w+$")


def promises(case: Case) -> Iterator[Promise]:
    """As many shards as their names count, none beside them that the index leaves out, and their size."""
    index = next((file.path for file in case.tuned.files if file.path.name.endswith(INDEX_END)), None)
    content = case.tuned.read_json(index.name) if index is not None else None
    if index is None or content is None:
        return
    shards = sorted({file.path.name for file in case.tuned.files} - {index.name})
    yield from _counted(index.name, shards)
    left = [name for name in case.tuned.unread if _SHARD.search(name)]
    if left:
        yield Promise(
            "index",
            index.name,
            "every shard of the folder",
            f"{join_names(left)} beside them that it does not name",
            "broken",
            loader="loading leaves their tensors out",
            first="whether they are of an older save: then delete them",
            severity="warning",
            subjects=tuple(left),
        )
    yield from _sized(case, index.name, content.get("metadata"))


def _counted(index: str, shards: list[str]) -> Iterator[Promise]:
    counts = {int(found[2]) for name in shards if (found := _SHARD.search(name))}
    if len(counts) != 1:
        return
    (count,) = counts
    whole = count == len(shards)
    yield Promise(
        "index",
        index,
        plural(count, "shard"),
        plural(len(shards), "shard"),
        "kept" if whole else "broken",
        loader="loading leaves out what the others hold",
        first="the folder that it was exported or copied from",
        subjects=() if whole else tuple(shards),
    )


def _sized(case: Case, index: str, metadata: object) -> Iterator[Promise]:
    total = metadata.get("total_size") if isinstance(metadata, dict) else None
    if not isinstance(total, int) or isinstance(total, bool):
        return
    held = sum(tensor.nbytes for tensor in case.tuned.tensors.values())
    expected, found = f"{total:,} bytes of tensors", f"{held:,} bytes"
    if held == total:
        yield Promise("index", f"{index}: total_size", expected, found, "kept")
        return
    yield Promise(  # libraries count tied and packed tensors in their own ways
        "index", f"{index}: total_size", expected, found, "untold", subjects=(f"{index}: total_size",)
    )
