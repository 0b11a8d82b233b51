"""BP309."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bitfit_probe.forms import forms_of_pair
from bitfit_probe.forms.grouping import grouped
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding, Severity, TensorDelta
from bitfit_probe.records.forms import Form, FormGroup
from bitfit_probe.rules.engine.rule import Rule, rule

__all__ = ["form_of_method"]

#: Decay multiplies a tensor by (1 − rate · decay) a step: 0.1 · 5e-5 over 20,000 steps leaves 0.90.
DECAYED = 0.9
#: A matrix or two without gradient that only decayed are none of the run's: with a tenth of those that moved
#: they are.
ALL_OVER = 0.1
#: Where half of a role's matrices share a form it is how the run was meant.
MEANT = 0.5
#: One cause makes one group, as a rule; beyond these the list is longer than it is clear.
_MOST = 3
_BODY = ("bias", "weight", "norm", "embedding")
#: Heads are made anew for a task, but not with zeros in the old one's place.
_IN_HEADS = ("pruned", "zeroed")


@dataclass(frozen=True)
class _Meaning:
    """What a form means to whoever loads the model, and what to look at first."""

    severity: Severity
    sees: str
    first: str


_SILENT = "names and shapes fit, so it loads without a word and computes something else"
_ORDER = _Meaning("error", _SILENT, "the conversion that wrote it")
_LOST = _Meaning("error", "what pretraining had put there is gone", "which names loading called missing")
_ALTERED = _Meaning("warning", "no gradient does that", "what was done to the weights after training")
_DAMAGED = _Meaning("warning", "training moves all or none", "how the file was written or copied")
#: What no training gives. A factor a row or column is IA3's, a blend an average, rows those of seen words.
_NEVER = {
    "permuted": _ORDER,
    "transposed": _ORDER,
    "another tensor": _ORDER,
    "redrawn": _LOST,
    "unrelated": _LOST,
    "constant value": _LOST,
    "constant factor": _ALTERED,
    "constant shift": _ALTERED,
    "clipped": _ALTERED,
    "pruned": _ALTERED,
    "zeroed": _ALTERED,
    "signs": _DAMAGED,
    "coarse grid": _Meaning(
        "warning", "quantised values stand in a float's file", "what was saved, and as what"
    ),
    "dequantised": _Meaning(
        "warning",
        "it has the loss of a quantised copy, unpacked again",
        "what was merged or saved, and as what",
    ),
    "few elements": _DAMAGED,
    "few rows": _DAMAGED,
    "few columns": _DAMAGED,
}


@rule("BP309", "form-not-of-the-method", "error")
def form_of_method(pair: Pair, this: Rule) -> Iterator[Finding]:
    """Tensors changed in a way that no training changes them.

    What it means
    -------------
    What stands in the file is the base in another order, another tensor, a multiple, a cut or quantised copy,
    or was drawn anew. Something other than training made it: a conversion, a merge, a save, a fresh start.

    Why it matters
    --------------
    Names and shapes still fit, so that nothing warns on loading; the model only answers worse, or not at all.

    How it is recognised
    --------------------
    The simplest transformation of the base's tensor that gives the tuned one leaves over at most 1 % of the
    change (10 % where it was trained on afterwards, 25 % of a convolution's channels), or a share of the
    elements is exactly 0 that is not in the base. `diff` lists them all. Heads are left out but for zeros,
    and so is what a method does: a low rank, a factor a row, rows of seen words, decay of what got no
    gradient.

    What to do
    ----------
    Compare what training saved with what came of it, step by step: save, merge, conversion, quantisation. The
    first file that has the form shows the step that made it.

    References
    ----------
    huggingface/transformers#46620, jzhang38/TinyLlama#24, fla-org/flash-linear-attention#820
    """
    rows = pair.comparison.tensors
    both = [
        (row, form)
        for row, form in zip(rows, forms_of_pair(pair).rows, strict=True)
        if row.info.kind in _BODY or (row.info.kind == "head" and form is not None and form.name in _IN_HEADS)
    ]
    if _is_another_model(both):
        return
    odd = [(row, form) for row, form in both if form is not None and _is_odd(row, form, both)]
    groups = grouped([row for row, _ in odd], [form for _, form in odd])
    for group in sorted(groups, key=lambda group: _NEVER[group.form.name].severity)[:_MOST]:
        yield _finding(this, group)


def _is_another_model(both: list[tuple[TensorDelta, Form | None]]) -> bool:
    """Whether most matrices have nothing to do with the base's: that is what BP107 says."""
    matrices = [form for row, form in both if row.info.kind == "weight" and row.identical is not None]
    strange = [form for form in matrices if form is not None and form.name in ("unrelated", "redrawn")]
    return len(strange) > len(matrices) / 2


def _is_odd(row: TensorDelta, form: Form, both: list[tuple[TensorDelta, Form | None]]) -> bool:
    if form.name not in _NEVER:
        return False
    if form.name == "constant factor":
        return not _is_decay(form) or (row.info.kind == "weight" and _all_over(form.name, both))
    if form.name in ("few rows", "few columns"):
        return row.info.kind == "weight" and not _is_meant(row, form, both)
    return True


def _is_decay(form: Form) -> bool:
    factor = form.parameters["factor"]
    return isinstance(factor, float) and DECAYED <= factor < 1


def _all_over(name: str, both: list[tuple[TensorDelta, Form | None]]) -> bool:
    moved = [form for row, form in both if row.info.kind == "weight" and row.moved and form is not None]
    return sum(form.name == name for form in moved) > max(ALL_OVER * len(moved), 1)


def _is_meant(row: TensorDelta, form: Form, both: list[tuple[TensorDelta, Form | None]]) -> bool:
    role = row.info.kind, row.info.role, row.info.stack
    alike = [other for at, other in both if (at.info.kind, at.info.role, at.info.stack) == role]
    return sum(other is not None and other.name == form.name for other in alike) >= max(MEANT * len(alike), 2)


def _finding(this: Rule, group: FormGroup) -> Finding:
    form, meaning = group.form, _NEVER[group.form.name]
    evidence = [Evidence("tensors", len(group.tensors), "tensors", about=form.name)]
    evidence += [
        Evidence(name, value, about=group.tensors[0])
        for name, value in form.parameters.items()
        if not isinstance(value, tuple)
    ]
    evidence.append(Evidence("residual", form.residual, "share", about="of the change"))
    return this.finding(
        f"{group.subject}: {form.says}, as in '{group.tensors[0]}'. That is no training: {meaning.sees}. "
        f"Look first at {meaning.first}.",
        severity=meaning.severity,
        subjects=group.tensors,
        evidence=tuple(evidence),
    )
