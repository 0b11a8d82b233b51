"""What became of the tensors: a line for those that share a form."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.records.forms import USUAL, FormGroup, Forms
from bitfit_probe.rendering.document.blocks import Facts
from bitfit_probe.rendering.words import join_names, part_name, percent, plural

__all__ = ["forms_block"]

#: Names that are written where a form is not one that training gives.
_MOST_NAMES = 2
#: What a form leaves over of a change is said from here on.
_WORTH_SAYING = 0.01


def forms_block(forms: Forms) -> Facts:
    """A line a group, what training does not give first."""
    untold = sum(form is None for form in forms.rows)
    rest = (("not told", plural(untold, "tensor")),) if untold else ()
    return Facts((*map(_fact, forms.groups), *rest))


def _fact(group: FormGroup) -> tuple[str, str]:
    return group.form.name, "".join(_pieces(group))


def _pieces(group: FormGroup) -> Iterator[str]:
    form = group.form
    if group.part:
        yield f"{part_name(group.part)}: "
    yield group.subject
    if form.says != form.name:
        yield f": {form.says}"
    if form.residual > _WORTH_SAYING:
        yield f"; {percent(form.residual)} of the change is left over"
    if form.name not in USUAL:
        yield f" – {join_names(group.tensors, _MOST_NAMES)}"
