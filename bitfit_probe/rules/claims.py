"""Which method a run claims, and what moved against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bitfit_probe.forms import forms_of_pair
from bitfit_probe.pair import Pair
from bitfit_probe.records import TensorDelta
from bitfit_probe.records.options import Expected
from bitfit_probe.rules.adapter_files import adapter_settings
from bitfit_probe.rules.rows import body
from bitfit_probe.rules.run_logs import claimed_method

__all__ = ["Claim", "claim_of", "must_have_moved", "strangers"]


@dataclass(frozen=True)
class Claim:
    """A method, where it is claimed, and whether the caller asked for it."""

    method: Expected
    source: str
    is_asked: bool


#: Kinds of parameters outside the head that a method moves; the first of them must have moved.
_MOVES: dict[Expected, tuple[str, ...]] = {
    "bitfit": ("bias",),
    "bitfit+norm": ("bias", "norm"),
    "lora": ("weight", "embedding"),
    "head": (),
    "full": ("weight", "bias", "norm", "embedding"),
}
#: Forms of a matrix to which an adapter's update was added, or nothing.
_OF_LORA = ("rank", "adapter", "at rest", "rounding")


def claim_of(pair: Pair) -> Claim | None:
    """What `--expect` says, or else the run's own files; None where neither does."""
    if pair.reading.expect is not None:
        return Claim(pair.reading.expect, "--expect", True)
    found = claimed_method(pair.tuned)
    return Claim(found[0], found[1], False) if found is not None else None


def strangers(pair: Pair, method: Expected) -> tuple[TensorDelta, ...]:
    """Tensors outside the head that moved although the method leaves them alone, or in another way."""
    kinds = _MOVES[method]
    if method == "lora" and adapter_settings(pair.tuned).get("bias") in ("all", "lora_only"):
        kinds = (*kinds, "bias")
    moved = [row for row in body(pair) if row.moved and row.info.kind != "buffer"]
    odd = _of_another_form(pair) if method == "lora" else set()
    return tuple(row for row in moved if row.info.kind not in kinds or row.name in odd)


def _of_another_form(pair: Pair) -> set[str]:
    """Matrices that moved by more than a low rank."""
    both = zip(pair.comparison.tensors, forms_of_pair(pair).rows, strict=True)
    kinds = _MOVES["lora"]
    told = [(row, form) for row, form in both if row.info.kind in kinds and form is not None]
    return {row.name for row, form in told if form.name not in _OF_LORA}


def must_have_moved(pair: Pair, method: Expected) -> Sequence[TensorDelta]:
    """Tensors that rest although the method trains them: all of a kind at rest, with ``full`` any matrix."""
    kinds = _MOVES[method]
    rows = body(pair, kinds[0]) if kinds else []
    resting = [row for row in rows if row.moved is False]
    if method == "full":
        return [row for row in resting if len(row.shape) > 1]
    return resting if len(resting) == len(rows) else []
