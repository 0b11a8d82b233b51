"""BP302."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.architectures.roles import NORM_ROLES
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.rules.rows import body, moved
from bitfit_probe.wording import plural

__all__ = ["norms_in_or_out"]


@rule("BP302", "norms-in-or-out", "info", catalogue=(11,))
def norms_in_or_out(pair: Pair, this: Rule) -> Iterator[Finding]:
    """It is a variant of BitFit: norm scales were trained too, or norm biases were left out.

    What it means
    -------------
    BitFit proper trains every bias, those of the norms included, and no norm scale. Both variants are in
    use and neither is a fault.

    Why it matters
    --------------
    Scores and sizes are compared under the name of BitFit; say which variant it is.

    How it is recognised
    --------------------
    Nothing but biases and norm scales moved: several scales moved as well, or no norm's bias did while
    the other biases did.

    What to do
    ----------
    Nothing, if it is meant. Otherwise select by layer type: a norm's `bias` belongs to BitFit, its `weight`
    does not.

    References
    ----------
    autogluon/autogluon#1666, JIA-Lab-research/LongLoRA#161; Ben Zaken et al. 2022, §3
    """
    if pair.comparison.verdict not in ("bitfit", "bitfit+norm"):
        return
    scales = body(pair, "norm")
    inside = [row for row in body(pair, "bias") if row.info.role in NORM_ROLES]
    trained = moved(scales)
    if pair.comparison.verdict == "bitfit+norm":
        yield this.finding(
            f"BitFit with norms: {len(trained)} of {plural(len(scales), 'norm scale')} trained beside the "
            "biases.",
            evidence=(Evidence("moved_tensors", len(trained), "tensors", about="norm scales"),),
        )
    elif inside and not moved(inside):
        yield this.finding(
            f"BitFit without norms: none of {plural(len(inside), 'norm bias', 'norm biases')} moved, the "
            "other "
            "biases did.",
            evidence=(Evidence("moved_tensors", 0, "tensors", about="norm biases"),),
        )
