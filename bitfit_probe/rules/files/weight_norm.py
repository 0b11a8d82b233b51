"""BP104."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from bitfit_probe.checkpoint import Tensor
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["weight_norm"]

_SPELLINGS = {
    "old (weight_g, weight_v)": ("weight_g", "weight_v"),
    "new (parametrizations.weight.original0 and 1)": (
        "parametrizations.weight.original0",
        "parametrizations.weight.original1",
    ),
}


@rule("BP104", "weight-norm-renamed", "warning", explains=("BP301",), catalogue=(26,))
def weight_norm(pair: Pair, this: Rule) -> Iterator[Finding]:
    """weight_norm is spelled otherwise than in the base.

    What it means
    -------------
    Weight normalisation keeps a weight as a gain g and a direction v. PyTorch before 2.0 calls them
    ``weight_g`` and ``weight_v``, now they are ``parametrizations.weight.original0`` and ``1``, and
    ``remove_weight_norm`` leaves their product as ``weight``. The two checkpoints differ in that.

    Why it matters
    --------------
    A loader that knows one spelling starts the layer at random; transformers renames the old spelling only.
    Comparing g and v alone misleads too: only g·v/‖v‖ is the weight.

    How it is recognised
    --------------------
    A module with one spelling on one side and another one on the other. The figure is the relative change of
    the product, ‖w_t − w_b‖ / ‖w_b‖.

    An error where the base has the plain weight and the tuned file has g and v, as its class then finds no
    weight.

    What to do
    ----------
    Save with the PyTorch that serves, or remove weight_norm on both sides before saving.

    References
    ----------
    huggingface/transformers#26796, huggingface/transformers#32433; Salimans & Kingma 2016
    """
    ours, theirs = _spelled(pair.base.tensors), _spelled(pair.tuned.tensors)
    differing = [(m, t) for t in theirs if (m := _same_module(t, ours, pair)) and _differ(m, t, ours, theirs)]
    differing += [(m, m) for m in ours if m not in theirs and f"{m}weight" in pair.tuned.tensors]
    if not differing:
        return
    module, other = differing[0]
    changes = [_change(pair, mine, yours, ours, theirs) for mine, yours in differing]
    added = all(mine not in ours for mine, _ in differing)
    yield this.finding(
        f"weight_norm of {len(differing)} module(s), such as '{module.rstrip('.')}', is spelled "
        f"{ours.get(module, 'as a plain weight')} in the base and {theirs.get(other, 'as a plain weight')} "
        f"in the tuned one; the weight itself moved by {100 * max(changes):.2g} %.",
        severity="error" if added else "warning",
        subjects=tuple(module for module, _ in differing)[:10],
        evidence=(Evidence("relative_change_of_product", max(changes), about=module),),
        advice="Save with the PyTorch that serves it, or call remove_weight_norm before saving.",
    )


def _spelled(names: Iterable[str]) -> dict[str, str]:
    """Modules under weight_norm, with a dot behind, and how their two tensors are called."""
    return {
        name.removesuffix(gain): spelling
        for name in names
        for spelling, (gain, _) in _SPELLINGS.items()
        if name.endswith(f".{gain}")
    }


def _same_module(module: str, ours: dict[str, str], pair: Pair) -> str | None:
    """The base's module of that name, under weight_norm or plain."""
    found = [m for m in ours if m == module or m.endswith(f".{module}") or module.endswith(f".{m}")]
    if found:
        return found[0]
    return module if f"{module}weight" in pair.base.tensors else None


def _differ(mine: str, yours: str, ours: dict[str, str], theirs: dict[str, str]) -> bool:
    return ours.get(mine) != theirs.get(yours)


def _change(pair: Pair, mine: str, yours: str, ours: dict[str, str], theirs: dict[str, str]) -> float:
    before = _weight(pair.base.tensors, mine, ours.get(mine))
    after = _weight(pair.tuned.tensors, yours, theirs.get(yours))
    if before.shape != after.shape:
        return float("nan")
    return float(np.linalg.norm(after - before) / max(float(np.linalg.norm(before)), np.finfo(float).tiny))


def _weight(tensors: Mapping[str, Tensor], module: str, spelling: str | None) -> npt.NDArray[np.float64]:
    if spelling is None:
        return tensors[f"{module}weight"].values()
    gain, direction = (tensors[f"{module}{leaf}"].values() for leaf in _SPELLINGS[spelling])
    axes = tuple(axis for axis, size in enumerate(gain.shape) if size == 1)
    product: npt.NDArray[np.float64] = (
        gain * direction / np.sqrt((direction**2).sum(axis=axes, keepdims=True))
    )
    return product
