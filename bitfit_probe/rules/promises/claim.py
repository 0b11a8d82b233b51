"""BP714."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding, TensorDelta
from bitfit_probe.rules.claims import Claim, claim_of, must_have_moved, strangers
from bitfit_probe.rules.engine.rule import CannotTell, Rule, rule
from bitfit_probe.wording import join_names, plural

__all__ = ["claim_broken"]

_SAYS = {
    "bitfit": "biases alone move",
    "bitfit+norm": "biases and norms alone move",
    "lora": "matrices move by a low rank and nothing else does",
    "head": "the head alone moves",
    "full": "every matrix moves",
}
_NOUNS = {
    "weight": ("matrix", "matrices"),
    "bias": ("bias", "biases"),
    "norm": ("norm scale", "norm scales"),
    "embedding": ("table", "tables"),
}


@rule("BP714", "claim-broken", "error", explains=("BP301", "BP302"))
def claim_broken(pair: Pair, this: Rule) -> Iterator[Finding]:
    """Something else moved than the method that is claimed moves.

    What it means
    -------------
    `--expect`, the run's card, config.json or the folder's name says how the model was trained, and the
    weights say otherwise.

    Why it matters
    --------------
    It is not the method that is reported. Patches and adapters made of it would not hold the change.

    How it is recognised
    --------------------
    By kind, a head aside, which every method may train: ``bitfit`` moves biases, ``bitfit+norm`` norm scales
    too, ``head`` nothing, ``full`` every matrix, ``lora`` matrices by a low rank (biases where
    adapter_config.json says so). Rounding is no movement. An error with `--expect`, else a warning; a run
    that calls itself BitFit is BP301's.

    What to do
    ----------
    Print the names with requires_grad after the last call that prepares the model, or correct the claim.

    References
    ----------
    facebookresearch/fairseq#4702
    """
    claim = claim_of(pair)
    if claim is None:
        raise CannotTell("no --expect given, and the files claim no method")
    if not claim.is_asked and claim.method == "bitfit":
        return
    others = strangers(pair, claim.method)
    if others:
        yield _finding(this, claim, others, "moved too" if claim.method != "lora" else "moved in another way")
    resting = must_have_moved(pair, claim.method)
    if resting:
        yield _finding(this, claim, resting, "at rest")


def _finding(this: Rule, claim: Claim, rows: Sequence[TensorDelta], what: str) -> Finding:
    counts = Counter(row.info.kind for row in rows)
    of_what = join_names([plural(count, *_NOUNS.get(kind, (kind,))) for kind, count in counts.items()], 4)
    source = (
        f"{claim.source} {claim.method}" if claim.is_asked else f"{claim.source}, which says {claim.method},"
    )
    return this.finding(
        f"{source} promises that {_SAYS[claim.method]}, a head aside; found: {of_what} {what}, such as "
        f"'{rows[0].name}'. Look first at what requires_grad was when the optimizer was built.",
        severity="error" if claim.is_asked else "warning",
        subjects=tuple(row.name for row in rows),
        evidence=(
            Evidence("moved_tensors" if what != "at rest" else "tensors", len(rows), "tensors", about=what),
        ),
    )
