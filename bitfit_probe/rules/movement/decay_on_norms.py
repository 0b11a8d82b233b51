"""BP303."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding, TensorDelta
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.rows import body, moved
from bitfit_probe.wording import plural

__all__ = ["decay_on_norms", "towards_zero"]

#: Cosine between Δ and −b from which on it was decay that moved a tensor: decay alone gives 1, a random
#: move of n elements 1/√n. In the runs of benchmarks/healthy.py, the embedded sample and the rxnfp fine-tunes
#: at most 1 tensor of 32 reaches 0.9, and the medians lie between -0.64 and 0.14.
DECAYED = 0.9
#: A shrinkage below this share is what any run with a small decay does to a tensor at rest.
SHRUNK = 1e-3
#: This share of the norms and biases must show it.
MOST = 0.5


@rule("BP303", "decay-on-norms", "warning", catalogue=(12,))
def decay_on_norms(pair: Pair, this: Rule) -> Iterator[Finding]:
    """Weight decay pulled norm scales and biases towards zero.

    What it means
    -------------
    The optimizer's group without decay missed them, mostly because it goes by names ("LayerNorm", "bias")
    that this architecture does not use.

    Why it matters
    --------------
    A norm scale that decays dampens its whole layer; biases that shrink forget what pretraining put there.

    How it is recognised
    --------------------
    In at least half of the norm scales and biases that moved, Δ points to zero (cosine between Δ and −b at
    least 0.9) and the tensor lost at least 0.1 % of its length.

    What to do
    ----------
    Exclude parameters from decay by the type of their module (or by having one axis), not by name.

    References
    ----------
    huggingface/transformers#16908, huggingface/transformers#10598
    """
    rows = [row for row in moved(body(pair, "bias", "norm")) if row.base_l2]
    shrunk = [row for row in rows if _shrinkage(row) >= SHRUNK and (towards_zero(row) or 0) >= DECAYED]
    if not rows or len(shrunk) < MOST * len(rows):
        return
    loss = sorted(map(_shrinkage, shrunk))[len(shrunk) // 2]
    yield this.finding(
        f"Decay pulled {len(shrunk)} of "
        f"{plural(len(rows), 'trained norm or bias', 'trained norms and biases')} "
        f"towards zero: in the median they lost {100 * loss:.2g} % of their length.",
        subjects=tuple(row.name for row in shrunk),
        evidence=(
            Evidence("shrunk_tensors", len(shrunk), "tensors"),
            Evidence("length_lost", loss, "share", about="their median"),
        ),
    )


def towards_zero(row: TensorDelta) -> float | None:
    """Cosine between Δ and −b, from the norms alone: −⟨Δ, b⟩ = (‖b‖² + ‖Δ‖² − ‖t‖²) / 2."""
    base, tuned, delta = row.base_l2, row.tuned_l2, row.l2_delta
    if not base or not delta or tuned is None:
        return None
    return (base**2 + delta**2 - tuned**2) / (2 * base * delta)


def _shrinkage(row: TensorDelta) -> float:
    """The share of its length that the tensor lost."""
    return 1 - (row.tuned_l2 or 0.0) / row.base_l2 if row.base_l2 else 0.0
