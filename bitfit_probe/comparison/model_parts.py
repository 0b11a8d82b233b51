"""What became of each of several models in one checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from bitfit_probe.align import Alignment, unwrapped
from bitfit_probe.architectures import Architecture, Composite
from bitfit_probe.comparison.verdict import judge
from bitfit_probe.records import ModelPart, TensorDelta, TensorInfo, Unmatched

__all__ = ["model_parts", "without_gradient"]

#: What layers that predict further tokens are beside.
_MAIN = "language_model"

LowRank = Callable[[Sequence[TensorDelta]], bool]


def without_gradient(alignment: Alignment, rows: Iterable[TensorDelta]) -> Mapping[str, str]:
    """Tensors at rest that no loss could have moved, and the setting that says so."""
    known = alignment.architecture
    if not isinstance(known, Composite):
        return {}
    resting = (row for row in rows if row.moved is False and row.judged_by != "not-in-file")
    still = {unwrapped(row.name): row.name for row in resting}
    reasons = known.without_gradient(_names(alignment))
    return {still[name]: why for name, why in reasons.items() if name in still}


def _names(alignment: Alignment) -> list[str]:
    """All names of the base, by which its layers are counted."""
    paired = dict.fromkeys(pair.base.name for pair in alignment.pairs)
    return [unwrapped(name) for name in (*paired, *(item.name for item in alignment.unmatched_base))]


@dataclass
class _Share:
    """What a part has of the rows and of what lacks a partner."""

    rows: list[TensorDelta] = field(default_factory=list)
    base: list[Unmatched] = field(default_factory=list)
    tuned: list[Unmatched] = field(default_factory=list)


def model_parts(
    alignment: Alignment, rows: Sequence[TensorDelta], still: Mapping[str, str], low_rank: LowRank | None
) -> tuple[ModelPart, ...]:
    """Each part of a model that has several, the largest first; none for one that is in one piece.

    Parameters
    ----------
    still
        What `without_gradient` gives.
    low_rank
        Whether the changes of given rows are of low rank; None where no verdict is asked for.
    """
    known = alignment.architecture
    shares: dict[str, _Share] = {}
    for row in rows:
        _share(shares, row.info).rows.append(row)
    for item in alignment.unmatched_base:
        _share(shares, item.info).base.append(item)
    for item in alignment.unmatched_tuned:
        _share(shares, item.info).tuned.append(item)
    extra = known.extra_layers in shares
    if not isinstance(known, Composite) and not extra:
        return ()
    if extra:  # what they stand behind has no name of its own
        shares[_MAIN] = shares.pop("", _Share())
    shares.pop("", None)
    found = [_part(name, share, known, still, low_rank) for name, share in shares.items()]
    return tuple(sorted(found, key=lambda part: -part.base_parameters))


def _share(shares: dict[str, _Share], info: TensorInfo) -> _Share:
    return shares.setdefault((info.stack or "").partition(" ")[0], _Share())


def _part(
    name: str, share: _Share, known: Architecture, still: Mapping[str, str], low_rank: LowRank | None
) -> ModelPart:
    own = known.members.get(name) if isinstance(known, Composite) else known
    live = [row for row in share.rows if row.name not in still]
    read = [row for row in share.rows if row.judged_by in ("compared", "checksum")]
    compared = sum(row.parameters for row in share.rows if row.judged_by != "not-checked")
    verdict = None
    if share.rows and low_rank is not None:
        verdict, _ = judge(live or share.rows, share.base, share.tuned, lambda: low_rank(live))
    reasons = {still[row.name] for row in share.rows if row.name in still}
    return ModelPart(
        name=name,
        family=own.family if own is not None else None,
        state="compared" if share.rows else "absent" if share.base else "new",
        verdict=verdict,
        tensors=_count(read),
        moved=_count(row for row in read if row.moved),
        biases=_count(row for row in read if row.info.kind == "bias"),
        moved_biases=_count(row for row in read if row.info.kind == "bias" and row.moved),
        base_parameters=sum(row.parameters for row in share.rows)
        + sum(prod(item.shape) for item in share.base if item.why != "tied"),
        compared_parameters=compared,
        still=tuple(dict.fromkeys(row.name for row in share.rows if row.name in still)),
        still_because=min(reasons, default=None),
        key_bias_cancels=own.key_bias_cancels if own is not None else None,
    )


def _count(rows: Iterable[TensorDelta]) -> int:
    return len({row.name for row in rows})
