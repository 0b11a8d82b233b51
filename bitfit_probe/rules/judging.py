"""Every rule on every tuned checkpoint, and what is left when symptoms give way to their causes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from bitfit_probe.errors import BitfitProbeError
from bitfit_probe.records import Check, Finding, NotChecked, Scope, Severity
from bitfit_probe.rules.interface import Attempt, CannotTell, Rule, all_rules

__all__ = ["check", "matching"]

_SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
#: What to fix first: the right files, then a training or merge that happened, then what it did.
_FAMILIES = "152436"


def matching(prefixes: Iterable[str]) -> set[str]:
    """Codes of the rules that begin with one of `prefixes`, as ``BP2`` or ``BP203``.

    Raises
    ------
    ValueError
        No rule's code begins so.
    """
    chosen: set[str] = set()
    for prefix in prefixes:
        found = {code for code in all_rules() if prefix and code.startswith(prefix.upper())}
        if not found:
            raise ValueError(f"no rule's code begins with {prefix!r}")
        chosen |= found
    return chosen


def check(
    attempts: Sequence[Attempt],
    *,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    strict: bool = False,
) -> Check:
    """Run the rules.

    Parameters
    ----------
    attempts
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
        A tuned checkpoint can't be opened or compared, and no rule knows why.
    ValueError
        No rule begins with a code in `select` or `ignore`.
    """
    wanted = (matching(select) if select else set(all_rules())) - matching(ignore)
    causes = {rule.code for rule in all_rules().values() if wanted & set(rule.explains)}
    rules = [rule for code, rule in all_rules().items() if code in wanted | causes]
    looks = [_look(attempt, rules, strict=strict) for attempt in attempts]
    not_checked = [item for look in looks for item in look.not_checked if item.code in wanted]
    skipped = {item.code for item in not_checked}
    return Check(
        findings=_ordered(finding for look in looks for finding in look.kept() if finding.code in wanted),
        checked=tuple(code for code in sorted(wanted) if code not in skipped),
        not_checked=tuple(dict.fromkeys(not_checked)),
        scopes=tuple(_scope(attempt) for attempt in attempts),
    )


def _scope(attempt: Attempt) -> Scope:
    coverage = None if attempt.case is None else attempt.case.comparison.coverage
    return Scope(str(attempt.path), coverage, () if attempt.tuned is None else attempt.tuned.unread)


@dataclass
class _Looked:
    """What the rules said of one tuned checkpoint."""

    findings: list[Finding] = field(default_factory=list)
    not_checked: list[NotChecked] = field(default_factory=list)

    def kept(self) -> list[Finding]:
        """Findings that no other one explains."""
        rules = all_rules()
        explained = {code for finding in self.findings for code in rules[finding.code].explains}
        return [finding for finding in self.findings if finding.code not in explained]


def _look(attempt: Attempt, rules: Sequence[Rule], *, strict: bool) -> _Looked:
    looked, where = _Looked(), str(attempt.path)
    for rule in rules:
        try:
            looked.findings += [replace(finding, tuned=where) for finding in _apply(rule, attempt)]
        except (CannotTell, BitfitProbeError) as reason:
            looked.not_checked.append(NotChecked(rule.code, str(reason), where))
        except Exception as fault:
            if strict:
                raise
            why = f"the rule failed ({type(fault).__name__}: {fault}); please report this"
            looked.not_checked.append(NotChecked(rule.code, why, where))
    if attempt.error is not None and not any(finding.severity == "error" for finding in looked.findings):
        raise attempt.error
    return looked


def _apply(rule: Rule, attempt: Attempt) -> list[Finding]:
    if rule.files_only:
        return list(rule.look(attempt))
    if attempt.case is None:
        raise CannotTell("the two could not be compared")
    return list(rule.look(attempt.case))


def _ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(dict.fromkeys(findings), key=_urgency))


def _urgency(finding: Finding) -> tuple[int, int, str]:
    family = finding.code.removeprefix("BP")[:1]
    return _SEVERITIES.index(finding.severity), _FAMILIES.find(family), finding.code
