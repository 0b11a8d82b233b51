"""The simplest explanation of what happened to a tensor, and tensors that share one."""

from __future__ import annotations

from collections.abc import Mapping

from bitfit_probe.frozen import Frozen

__all__ = ["NOT_OF_TRAINING", "USUAL", "Form", "FormGroup", "Forms", "Value"]

#: Names of the forms that training and saving leave behind, those that say most first; every other one stands
#: before them.
USUAL = ("adapter", "trained", "rank", "rounding", "at rest")

#: Names of the forms that no training gives. A factor is decay's, lines of their own factor are IA3's, a few
#: rows are those of seen words, and a blend is an average.
NOT_OF_TRAINING = (
    "permuted",
    "transposed",
    "another tensor",
    "redrawn",
    "unrelated",
    "constant value",
    "constant shift",
    "clipped",
    "coarse grid",
    "pruned",
    "zeroed",
    "signs",
    "not finite",
)

#: A form's parameter: a number, words, or positions.
Value = float | int | str | tuple[int, ...] | tuple[tuple[int, ...], ...]


class Form(Frozen):
    """A transformation of the base's tensor that gives the tuned one.

    Attributes
    ----------
    name
        ``at rest``, ``rounding``, ``constant factor``, ``rank``, … ; ``trained`` where no simpler one holds.
    says
        What became of the base's tensor, in a few words: ``0.994 × the base``.
    parameters
        Its figures by name: the factor, the rank, which rows. Empty where it has none.
    residual
        The share of ‖Δ‖² that it leaves over.
    cost
        How many numbers it takes to say it; that of ``trained`` is the tensor's size.
    """

    name: str
    says: str
    parameters: Mapping[str, Value]
    residual: float
    cost: int


class FormGroup(Frozen):
    """Tensors that share a form.

    Attributes
    ----------
    form
        That of the tensor which it leaves most of.
    tensors
        Their names in the base, those of fused ones with their part.
    kinds
        How many there are of each kind (``weight``, ``bias``, …).
    roles
        Their different roles, in the order in which they are met.
    part
        The part of the model that they are in, where it has several.
    """

    form: Form
    tensors: tuple[str, ...]
    kinds: Mapping[str, int]
    roles: tuple[str, ...]
    part: str | None = None

    @property
    def subject(self) -> str:
        """How many of what: ``12 matrices (q, v)``; roles only where all are of one kind."""
        nouns = [f"{count:,} {_NOUNS[kind][count > 1]}" for kind, count in self.kinds.items()]
        text = " and ".join([", ".join(nouns[:-1]), nouns[-1]] if len(nouns) > 1 else nouns)
        few = len(self.kinds) == 1 and 0 < len(self.roles) <= _MOST_ROLES
        return f"{text} ({', '.join(self.roles)})" if few else text


_NOUNS = {
    "weight": ("matrix", "matrices"),
    "bias": ("bias", "biases"),
    "norm": ("norm scale", "norm scales"),
    "embedding": ("embedding table", "embedding tables"),
    "head": ("head tensor", "head tensors"),
    "buffer": ("buffer", "buffers"),
}
#: More roles than these are a model's all.
_MOST_ROLES = 6


class Forms(Frozen):
    """The forms of one comparison.

    Attributes
    ----------
    rows
        One a row of the comparison, in its order; None where it can't be told: not checked, not numbers, not
        finite, quantised, or a buffer that changed.
    groups
        Tensors that share a form: what training does not give first, then what it gives, then what rests.
    """

    rows: tuple[Form | None, ...]
    groups: tuple[FormGroup, ...]
