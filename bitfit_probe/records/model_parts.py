"""What a tuned checkpoint, or one of several models in it, is."""

from __future__ import annotations

from typing import Literal

from bitfit_probe.frozen import Frozen

__all__ = ["ModelPart", "Verdict"]

#: What a tuned checkpoint is, seen from its base.
Verdict = Literal[
    "identical",
    "rounding-only",
    "bitfit",
    "bitfit+norm",
    "head-only",
    "partial",
    "full",
    "merged-lora",
    "adapter",
    "incomparable",
]


class ModelPart(Frozen):
    """A vision tower, a projector, a language model, … of a comparison. Fused tensors count once.

    Attributes
    ----------
    name
        What it is called: the `stack` of its tensors.
    family
        Its own family; None where only the tuned side has the part.
    state
        ``compared``, ``absent`` (from the tuned side) or ``new`` (there only).
    verdict
        What it is, seen from the base's; None where it was not compared, and for adapters.
    tensors, moved, biases, moved_biases
        Tensors that both files hold, and those of them that moved by more than rounding.
    base_parameters, compared_parameters
        Elements of the base's tensors, heads and all, and those of them that were compared, or that the tuned
        file leaves out because they are the base's own.
    still
        Tensors at rest that no loss can move, since features are taken from before them.
    still_because
        The setting that says so, such as ``vision_feature_layer -2``.
    key_bias_cancels
        Whether softmax drops this part's key bias; None where unknown.
    """

    name: str
    family: str | None
    state: Literal["compared", "absent", "new"]
    verdict: Verdict | None
    tensors: int
    moved: int
    biases: int
    moved_biases: int
    base_parameters: int
    compared_parameters: int
    still: tuple[str, ...] = ()
    still_because: str | None = None
    key_bias_cancels: bool | None = None
