"""How much of the base a comparison looked at, and what became of the rest."""

from __future__ import annotations

from typing import Literal

from bitfit_probe.frozen import Frozen

__all__ = ["Coverage", "Reason", "Uncovered"]

#: Why a part of the base has no counterpart: ``absent``; ``layer-absent`` and ``part-absent``, where that is
#: so of a whole layer or of a whole stack (encoder, decoder, vision, text); ``shape``, a partner of another
#: shape; ``rows-cut``, rows of a vocabulary beyond the tuned one's; ``quantised``, codes on one side;
#: ``other-name``, a tensor of the same shape without a partner on the tuned side; ``other-file``, a weight
#: file of the tuned folder that was not read has it; ``biases-only``, not checked, as was asked.
Reason = Literal[
    "absent",
    "layer-absent",
    "part-absent",
    "shape",
    "rows-cut",
    "quantised",
    "other-name",
    "other-file",
    "biases-only",
]


class Uncovered(Frozen):
    """A part of the base that was not compared: why, and how many tensors and elements it is."""

    reason: Reason
    tensors: int
    parameters: int


class Coverage(Frozen):
    """The base's parameters by what is known of them. Buffers are no parameters.

    Heads and poolers come and go with the task, so they are counted apart. The second name of a tied tensor
    is not counted where the other side holds it under the first only. What the tuned side has beyond the
    base (rows, layers, a larger model around it) does not count: coverage is of the base.

    Attributes
    ----------
    base_parameters
        Elements of the base's tensors outside heads and poolers.
    compared_parameters
        Those of them that were compared by their bytes, or taken as equal by checksum.
    by_design_parameters
        Those that the tuned file (an adapter, a file of biases) leaves out because they are the base's own.
    share
        (compared + by design) / base; None where the base has no parameters outside its heads.
    enough
        Whether what is missing, other than by ``biases-only``, is no more than 5 % of the base. Where it is
        more, the verdict holds for what was compared and not for the model.
    head_parameters, compared_head_parameters
        The same of heads and poolers; by design counts as compared.
    rest
        What was not compared outside heads and poolers, by reason, most elements first.
    """

    base_parameters: int
    compared_parameters: int
    by_design_parameters: int
    share: float | None
    enough: bool
    head_parameters: int
    compared_head_parameters: int
    rest: tuple[Uncovered, ...] = ()

    def lacking(self, *reasons: Reason) -> int:
        """Elements that were not compared for one of `reasons`."""
        return sum(item.parameters for item in self.rest if item.reason in reasons)
