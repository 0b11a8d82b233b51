"""Findings of `check` against steps: a cause that explains a loss is one whose mending gains."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bitfit_probe.records import Finding
from bitfit_probe.records.diagnosis import Cause, Intervention

__all__ = ["REMEDIES", "causes"]

_HEAD = ("rename-head", "refit-head")
_FURTHER = ("refit-head", "alpha-1.")
_BACK = ("alpha-0", "base-body")
_OTHERS = ("checkpoint-", "average")
_TOKENS = ("base-tokenizer", "lower-case")
#: Beginnings of the names of steps that would mend what a rule finds.
REMEDIES: dict[str, tuple[str, ...]] = {
    "BP106": _HEAD,
    "BP202": _FURTHER,
    "BP203": _FURTHER,
    "BP204": _FURTHER,
    "BP205": _FURTHER,
    "BP206": _OTHERS,
    "BP207": _OTHERS,
    "BP208": (*_BACK, *_OTHERS),
    "BP209": _FURTHER,
    "BP210": _OTHERS,
    "BP302": ("put-back-norm-scales",),
    "BP307": ("float32",),
    "BP308": _BACK,
    "BP401": _HEAD,
    "BP403": _HEAD,
    "BP404": _HEAD,
    "BP405": ("pool-", "refit-head"),
    "BP406": ("relabel",),
    "BP408": _TOKENS,
    "BP409": _TOKENS,
    "BP411": ("length-",),
    "BP412": ("put-back-embeddings",),
    "BP602": _BACK,
    "BP703": _HEAD,
    "BP705": ("base-settings",),
    "BP710": _TOKENS,
}

#: What says no more than that the score is bad.
_SYMPTOMS = ("BP603", "BP604")
_ORDER = ("confirmed", "a part", "not tried", "gains nothing")


def causes(
    findings: Iterable[Finding], tried: Sequence[Intervention], advised: str | None
) -> tuple[Cause, ...]:
    """Each finding with what the steps against it gained: confirmed causes first, refuted ones last.

    Parameters
    ----------
    advised
        Name of the advised step, by which a cause is confirmed.
    """
    found = [_cause(finding, tried, advised) for finding in findings if finding.code not in _SYMPTOMS]
    return tuple(sorted(found, key=lambda cause: _ORDER.index(cause.verdict)))


def _cause(finding: Finding, tried: Sequence[Intervention], advised: str | None) -> Cause:
    starts = REMEDIES.get(finding.code, ())
    against = [item for item in tried if item.name.startswith(starts)] if starts else []
    names = tuple(item.name for item in against)
    if not against:
        return Cause(finding, "not tried")
    if advised in names:
        return Cause(finding, "confirmed", names)
    return Cause(finding, "a part" if any(item.helps for item in against) else "gains nothing", names)
