"""A base laid beside itself as an adapter tunes it, and two adapters beside each other."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Literal

from bitfit_probe.align.matching import Matcher, Names
from bitfit_probe.align.names import keyed, plain, translated
from bitfit_probe.align.sides import Alignment, architectures, ties
from bitfit_probe.architectures import Architecture
from bitfit_probe.checkpoint import Checkpoint, Tensor
from bitfit_probe.checkpoint.adapters import Adapter, Change, ExpertsLowRank, LowRank, lay_over, low_rank
from bitfit_probe.errors import NothingAlignsError, ShapesError, TargetsError
from bitfit_probe.records import Unmatched

__all__ = ["align_adapter", "align_adapters"]


def align_adapter(base: Checkpoint, tuned: Checkpoint, adapter: Adapter) -> Alignment:
    """Lay the base as the adapter tunes it beside the base; what it leaves alone is not in its file.

    Raises
    ------
    UnsupportedError
        What the adapter does takes more than its tensors.
    """
    if adapter.unread is not None:
        raise adapter.unread
    plain_base = plain(translated(base, [*adapter.stored, *adapter.altered]))
    changed: dict[str, Tensor | Change] = {**adapter.stored, **adapter.altered}
    left, right = architectures(plain_base, changed, base, tuned)
    ours, theirs, renaming = keyed(plain_base, changed, left, right)
    keys = {item.name: key for key, item in theirs.items()}
    altered = _by_expert({keys[name]: change for name, change in adapter.altered.items()}, ours, left)
    ours = ours | _tied_targets(ours, left, keys, adapter) if ties(base) else ours
    overlay = lay_over(
        ours,
        altered,
        {keys[name]: tensor for name, tensor in adapter.stored.items()},
        inputs_first=bool(adapter.config.get("fan_in_fan_out")),
    )
    matcher = Matcher(Names(left, ours, ties(base)), Names(right, overlay.tensors, ties(tuned)))
    matcher.match_names()
    matcher.match_wrapped_heads()
    matcher.match_fused()
    matcher.match_experts()
    if changed and not matcher.found:
        raise _no_target(base, tuned, changed, misfits=bool(overlay.misfits))
    matcher.match_unstored()
    unmatched_base, unmatched_tuned = matcher.leftovers()
    left_over = [
        *(_without_partner(change, right, "absent") for change in overlay.absent.values()),
        *(_without_partner(change, right, "shape") for change in overlay.misfits.values()),
    ]
    architecture = right if left.family == "generic" else left
    return Alignment(
        architecture, matcher.pairs_in_order(), unmatched_base, (*unmatched_tuned, *left_over), renaming
    )


def align_adapters(base: Checkpoint, tuned: Checkpoint, first: Adapter, second: Adapter) -> Alignment:
    """Lay two adapters beside each other: what each adds to a matrix, and what is stored as it is."""
    changed = _by_name(first), _by_name(second)
    left, right = architectures(*changed, base, tuned)
    ours, theirs, renaming = keyed(*changed, left, right)
    matcher = Matcher(*(Names(right, _tensors(side)) for side in (ours, theirs)))
    matcher.match_names()
    matcher.match_fused()
    if not matcher.found:
        raise NothingAlignsError(
            f"changes nothing that the adapter in {base.path} changes (for example "
            f"{next(iter(theirs), None)!r} and {next(iter(ours), None)!r})",
            advice="give two adapters of one base, or the base itself",
            path=tuned.path,
        )
    updates = {
        change.name: (change, other)
        for key, change in ours.items()
        if isinstance(change, LowRank) and isinstance(other := theirs.get(key), LowRank)
    }
    pairs = (
        replace(pair, update=updates.get(pair.base.name)) if pair.computed else pair
        for pair in matcher.pairs_in_order()
    )
    return Alignment(right, tuple(pairs), *matcher.leftovers(), renaming)


def _by_name(adapter: Adapter) -> dict[str, Tensor | LowRank]:
    """Factors, and what else the adapter holds; of what is both stored and altered, what alters it."""
    vectors = {name: own for change in adapter.altered.values() for name, own in change.vectors.items()}
    changes = low_rank(adapter)
    return {**changes, **adapter.stored, **vectors, **changes}


def _tensors(changed: Mapping[str, Tensor | LowRank]) -> dict[str, Tensor]:
    return {key: one.update if isinstance(one, LowRank) else one for key, one in changed.items()}


def _by_expert(
    altered: dict[str, Change], ours: Mapping[str, Tensor], architecture: Architecture
) -> dict[str, Change]:
    """`altered`, with the change of all experts taken apart where the base stores each expert alone."""
    out: dict[str, Change] = {}
    for key, change in altered.items():
        alone = {}
        if isinstance(change, ExpertsLowRank):
            change = replace(change, inputs_first=architecture.experts_inputs_first(change.name))
            for expert, part, stored in architecture.experts(change.name, change.shape):
                first = part.start - expert * change.shape[1]
                alone[stored] = change.of(stored, expert, first, first + part.stop - part.start)
        out |= alone if alone and key not in ours and alone.keys() <= ours.keys() else {key: change}
    return out


def _tied_targets(
    ours: dict[str, Tensor], architecture: Architecture, keys: dict[str, str], adapter: Adapter
) -> dict[str, Tensor]:
    """The embedding under the head's name, where an adapter alters a head that the base stores only once."""
    out = {}
    for name in adapter.altered:
        tied = architecture.tied_to(name)
        if keys[name] not in ours and tied is not None and tied in ours:
            out[keys[name]] = replace(ours[tied], name=name)
    return out


def _without_partner(
    change: Change, architecture: Architecture, why: Literal["absent", "shape"]
) -> Unmatched:
    info = architecture.info(change.name, len(change.shape))
    return Unmatched(change.name, change.shape, info, why)


def _no_target(
    base: Checkpoint, tuned: Checkpoint, changed: Iterable[str], *, misfits: bool
) -> TargetsError | ShapesError:
    target = next(iter(changed))
    if misfits:
        return ShapesError(
            f"the tensors that it changes, such as {target!r}, have other shapes in {base.path}",
            advice="give the base that this adapter was trained on",
            path=tuned.path,
        )
    parts = target.split(".")
    instead = max(base.tensors, key=lambda name: _common_end(name.split("."), parts))
    return TargetsError(
        f"its targets are no tensors of {base.path}: it changes {target!r}, the base has {instead!r} instead",
        advice="give the base that this adapter was trained on, saved under the same names",
        path=tuned.path,
    )


def _common_end(one: list[str], other: list[str]) -> int:
    pairs = zip(reversed(one), reversed(other), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
