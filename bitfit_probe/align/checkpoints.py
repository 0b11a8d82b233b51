"""Two whole checkpoints laid side by side."""

from __future__ import annotations

from bitfit_probe.align.adapters import align_adapter, align_adapters
from bitfit_probe.align.matching import Matcher, Names
from bitfit_probe.align.names import keyed, plain, translated
from bitfit_probe.align.packing import mark_codes
from bitfit_probe.align.sides import Alignment, architectures, ties
from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.errors import NothingAlignsError, ShapesError

__all__ = ["align"]

_BIASES_ONLY = (
    "the tuned file holds biases only, which are taken as tuned values rather than as differences; the rest"
    " is the base's own"
)


def align(base: Checkpoint, tuned: Checkpoint) -> Alignment:
    """Lay `tuned` beside `base`.

    Raises
    ------
    NothingAlignsError
        No name of one side is found on the other.
    ShapesError
        Names are found, but no shape fits.
    TargetsError
        `tuned` is an adapter, and nothing that it changes is in the base.
    """
    if base.adapter is not None and tuned.adapter is not None:
        return align_adapters(base, tuned, base.adapter, tuned.adapter)
    if base.adapter is not None:
        raise NothingAlignsError(
            f"an adapter ({base.adapter.label}) is no base of {tuned.path}, which is none",
            advice="give the model that the adapter was trained on as BASE",
            path=base.path,
        )
    if tuned.adapter is not None:
        return align_adapter(base, tuned, tuned.adapter)
    plain_base = plain(translated(base, tuned.tensors))
    plain_tuned = plain(translated(tuned, base.tensors))
    left, right = architectures(plain_base, plain_tuned, base, tuned)
    ours, theirs, renaming = keyed(plain_base, plain_tuned, left, right)
    matcher = Matcher(Names(left, ours, ties(base)), Names(right, theirs, ties(tuned)))
    matcher.match_names()
    matcher.match_wrapped_heads()
    matcher.match_weight_norm()
    matcher.match_fused()
    matcher.match_experts()
    if not matcher.found:
        raise _nothing(base, tuned, shared=bool(ours.keys() & theirs.keys()))
    notes = renaming
    if matcher.holds_biases_only():
        matcher.match_unstored()
        notes = (*renaming, _BIASES_ONLY)
    matcher.set_codes_aside()
    pairs = matcher.pairs_in_order()
    unmatched_base, unmatched_tuned = mark_codes(base, tuned, *matcher.leftovers())
    architecture = right if left.family == "generic" else left
    return Alignment(architecture, pairs, unmatched_base, unmatched_tuned, notes)


def _nothing(base: Checkpoint, tuned: Checkpoint, *, shared: bool) -> NothingAlignsError | ShapesError:
    if shared:
        return ShapesError(
            f"tensors of the same names have other shapes in {base.path}",
            advice="these are models of different size; give the base that this one was tuned from",
            path=tuned.path,
        )
    ours, theirs = next(iter(base.tensors)), next(iter(tuned.tensors))
    return NothingAlignsError(
        f"no tensor of it is one of {base.path} (for example {theirs!r} and {ours!r})",
        advice="give the base that this one was tuned from",
        path=tuned.path,
    )
