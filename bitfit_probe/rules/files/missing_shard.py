"""BP110."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.checkpoint.registry import trained
from bitfit_probe.errors import MissingShardError
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule

__all__ = ["missing_shard"]


@rule(
    "BP110",
    "missing-shard",
    "error",
    explains=("BP701", "BP702", "BP703", "BP708"),
    needs=(),
    catalogue=(42,),
)
def missing_shard(pair: Pair, this: Rule) -> Iterator[Finding]:
    """A shard is missing, or is another one.

    What it means
    -------------
    The index lists which file holds which tensor. A file that it names is absent, or is there without the
    tensors that it should hold: a stale or renamed shard.

    Why it matters
    --------------
    Loaders stop, or leave the missing layers at random.

    How it is recognised
    --------------------
    The index against the files and the names in them. An index beside a single weight file is not read, as
    transformers takes the single file.

    What to do
    ----------
    Download or copy the shard again, together with its index: both must come from one save.

    References
    ----------
    noonghunna/club-3090#1042, filipstrand/mflux#603
    """
    if not isinstance(pair.error, MissingShardError) or pair.opened:
        return
    index = next((index for name in trained().indexes if (index := pair.read_json(name))), {})
    names = index.get("weight_map")
    shards = sorted(set(names.values())) if isinstance(names, dict) else []
    absent = [name for name in shards if not (pair.folder / str(name)).is_file()]
    lost = sum(shard in absent for shard in names.values()) if isinstance(names, dict) else 0
    count = f" ({len(absent)} of {len(shards)} shards absent, {lost} tensors)" if absent else ""
    yield this.finding(
        f"The sharded checkpoint is incomplete: {pair.error.what}{count}.",
        subjects=tuple(absent) or (str(pair.path),),
        evidence=(Evidence("absent_shards", len(absent), "files"), Evidence("shards", len(shards), "files")),
        advice="Copy the shard again, with the index of the same save.",
    )
