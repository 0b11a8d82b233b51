"""BP103."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.architectures.names import looks_like_norm, modern_leaf
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.tensors import is_adapter

__all__ = ["gamma_beta"]

#: The only module in which transformers renames them (its ``legacy`` mapping, 5.24).
_RENAMED = "LayerNorm"


@rule("BP103", "gamma-beta", "error", catalogue=(24,))
def gamma_beta(pair: Pair, this: Rule) -> Iterator[Finding]:
    """Norms are saved under their TensorFlow names.

    What it means
    -------------
    The scales and biases of norms are called ``gamma`` and ``beta``, as in TensorFlow and in BERT's first
    PyTorch files, while the base calls them ``weight`` and ``bias``.

    Why it matters
    --------------
    transformers renames them in modules that are called exactly ``LayerNorm``; in any other norm it leaves
    scale 1 and bias 0. Everything else that loads state dicts renames nothing. Biases of norms are part of
    what BitFit trains.

    How it is recognised
    --------------------
    Last components ``gamma`` or ``beta`` inside modules that look like norms, with a partner in the base
    under the new name. Outside norms (layer scale, for one) the names are real and stay. An error where
    transformers loses them, a warning where it renames them.

    What to do
    ----------
    Rename them once: gamma is weight, beta is bias.

    References
    ----------
    huggingface/transformers#11809, huggingface/transformers#35615
    """
    if is_adapter(pair.tuned):
        return
    old = [
        match.tuned.name
        for match in pair.alignment.pairs
        if _is_old(match.tuned.name) and not _is_old(match.base.name)
    ]
    if not old:
        return
    lost = [name for name in old if name.split(".")[-2] != _RENAMED]
    outcome = (
        f"transformers leaves {len(lost)} of them at 1 and 0"
        if lost
        else "only transformers renames them on loading"
    )
    yield this.finding(
        f"{len(old)} norm tensors are called gamma or beta where the base says weight or bias; {outcome}.",
        severity="error" if lost else "warning",
        subjects=tuple(lost or old)[:10],
        evidence=(
            Evidence("old_names", len(old), "tensors"),
            Evidence("lost_on_loading", len(lost), "tensors", source="transformers 5.24"),
        ),
        advice="Rename them in the file: gamma is weight, beta is bias.",
    )


def _is_old(name: str) -> bool:
    *modules, leaf = name.split(".")
    return bool(modules) and modern_leaf(leaf) != leaf and looks_like_norm(modules[-1])
