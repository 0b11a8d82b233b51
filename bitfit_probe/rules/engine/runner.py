"""Rules on tuned checkpoints, and what is left when symptoms give way to their causes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bitfit_probe.errors import BitfitProbeError
from bitfit_probe.pair import Pair
from bitfit_probe.promises import promises_of_pair
from bitfit_probe.records import Check, Failure, Finding, NotChecked, Scope, Severity
from bitfit_probe.rules.engine.needs import lacking
from bitfit_probe.rules.engine.rule import CannotTell, Rule

__all__ = ["matching", "run"]

_SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
#: What to fix first: the right files, then a training or merge that happened, then what it did.
_FAMILIES = "1524367"


def matching(rules: Iterable[str], prefixes: Iterable[str]) -> set[str]:
    """Those codes of `rules` that begin with one of `prefixes`, as ``BP2`` or ``BP203``.

    Raises
    ------
    ValueError
        None begins with one of them.
    """
    known, chosen = tuple(rules), set[str]()
    for prefix in prefixes:
        found = {code for code in known if prefix and code.startswith(prefix.upper())}
        if not found:
            raise ValueError(f"no rule's code begins with {prefix!r}")
        chosen |= found
    return chosen


def run(
    rules: Mapping[str, Rule],
    pairs: Sequence[Pair],
    *,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    strict: bool = False,
) -> Check:
    """Run rules.

    Parameters
    ----------
    rules
        By code, in the order of the codes.
    pairs
        One a tuned checkpoint.
    select, ignore
        Codes, or beginnings of codes, to run alone or to leave out. A rule that is left out still
        takes away the findings that it explains.
    strict
        Raise what a faulty rule raises, instead of naming the rule among those not checked.

    Returns
    -------
    Check
        Findings without those that another one explains, worst first and then by what to fix first.

    Raises
    ------
    BitfitProbeError
        No tuned checkpoint can be opened and compared, and no rule knows why.
    ValueError
        No rule begins with a code in `select` or `ignore`.
    """
    wanted = (matching(rules, select) if select else set(rules)) - matching(rules, ignore)
    causes = {rule.code for rule in rules.values() if wanted & set(rule.explains)}
    chosen = {code: rule for code, rule in rules.items() if code in wanted | causes}
    looks = [_look(chosen, pair, strict=strict) for pair in pairs]
    errors = [look.error for look in looks]
    if errors and errors[0] is not None and all(errors):
        raise errors[0]
    not_checked = [item for look in looks for item in look.not_checked if item.code in wanted]
    skipped = {item.code for item in not_checked}
    return Check(
        findings=_ordered(finding for look in looks for finding in look.findings if finding.code in wanted),
        checked=tuple(code for code in sorted(wanted) if code not in skipped),
        not_checked=tuple(dict.fromkeys(not_checked)),
        scopes=tuple(_scope(pair) for pair in pairs),
        promises=tuple(promises_of_pair(pair) for pair in pairs if pair.opened),
        failures=tuple(
            Failure.of(pair.path, error)
            for pair, error in zip(pairs, errors, strict=True)
            if error is not None
        ),
    )


def _scope(pair: Pair) -> Scope:
    unread = pair.tuned.unread if pair.opened else ()
    if not pair.compared:
        return Scope(str(pair.path), None, unread)
    return Scope(str(pair.path), pair.comparison.coverage, unread, pair.comparison.summary.retyped)


@dataclass
class _Looked:
    """What the rules said of one tuned checkpoint; `error` where it can't be compared and none says why."""

    findings: list[Finding] = field(default_factory=list)
    not_checked: list[NotChecked] = field(default_factory=list)
    error: BitfitProbeError | None = None


def _look(rules: Mapping[str, Rule], pair: Pair, *, strict: bool) -> _Looked:
    looked, where = _Looked(), str(pair.path)
    for code, rule in rules.items():
        found: list[Finding] = []
        try:
            why = lacking(pair, rule.needs)
            found = [] if why else [replace(finding, tuned=where) for finding in rule.look(pair)]
        except (CannotTell, BitfitProbeError) as reason:
            why = str(reason)
        except Exception as fault:
            if strict:
                raise
            why = f"the rule failed ({type(fault).__name__}: {fault}); please report this"
        if why:
            looked.not_checked.append(NotChecked(code, why, where))
        else:
            looked.findings += found
    told = any(finding.severity == "error" for finding in looked.findings)
    explained = {code for finding in looked.findings for code in rules[finding.code].explains}
    return _Looked(
        [finding for finding in looked.findings if finding.code not in explained],
        looked.not_checked,
        None if told else pair.error,
    )


def _ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(dict.fromkeys(findings), key=_urgency))


def _urgency(finding: Finding) -> tuple[int, int, str]:
    family = finding.code.removeprefix("BP")[:1]
    return _SEVERITIES.index(finding.severity), _FAMILIES.find(family), finding.code
