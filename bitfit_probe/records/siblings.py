"""What stands out among tensors that are alike: of one role in other layers, or of other experts."""

from __future__ import annotations

from typing import Literal

from bitfit_probe.frozen import Frozen

__all__ = ["Apart", "How"]

#: In which way: all of a layer at rest, a kind of module at rest everywhere, a tensor at rest while its
#: siblings moved, one that moved ten times more or less, one that is far less like its base than the others.
How = Literal["layers at rest", "kind at rest", "at rest", "far", "near", "unlike"]


class Apart(Frozen):
    """Tensors that did not do what their siblings did.

    Attributes
    ----------
    how
        In which way they differ.
    tensors
        Names in the base, those of fused ones with their part.
    siblings
        How many others they are held against: tensors, or layers.
    layers
        The layers that they lie in, sorted.
    stack
        The stack of these layers, where there are several.
    kind
        What all are, in the name's last words (``self_attn.q_proj.weight``); None where they differ.
    figure, usual
        What is compared, theirs and the siblings' median: √(Σ Δ² / n), or the cosine to the base.
    explained
        The file's setting that says it was meant so, such as ``layers_to_transform``.
    """

    how: How
    tensors: tuple[str, ...]
    siblings: int
    layers: tuple[int, ...]
    stack: str | None = None
    kind: str | None = None
    figure: float | None = None
    usual: float | None = None
    explained: str | None = None

    @property
    def is_expert(self) -> bool:
        """Whether it is one of several experts, of which some may get no token."""
        return "experts." in (self.kind or "")
