"""Where a tensor sits in its architecture."""

from __future__ import annotations

from typing import Literal

from bitfit_probe.frozen import Frozen

__all__ = ["Kind", "Part", "TensorInfo"]

#: What a parameter is to a method that trains some of them.
Kind = Literal["bias", "weight", "norm", "embedding", "head", "buffer"]


class TensorInfo(Frozen):
    """Where a tensor sits in its architecture.

    Attributes
    ----------
    role
        The tensor's role (``q``, ``k``, ``v``, ``m1``, ``LN1``, ``m2``, ``m3``, ``LN2``, ``embLN``,
        ``embedding``, ``pooler``, ``head``, …), or None where nothing is known about it.
    layer
        Number of the layer, counted from 0, or None outside the layers.
    stack
        Which stack of layers (``encoder``, ``decoder``, ``vision``, ``text``), or None where
        the architecture has one only.
    kind
        What the tensor is to a training method. Norm biases are ``bias``, norm scales are ``norm``;
        everything of a task or language-model head is ``head``.
    expert
        Number of the expert in a mixture of them; None outside of experts, and where one tensor holds all.
    """

    role: str | None
    layer: int | None
    stack: str | None
    kind: Kind
    expert: int | None = None


class Part(Frozen):
    """One of the tensors that an architecture stores fused in another one.

    The part is ``whole.reshape(shape)`` narrowed along `axis` to ``[start, stop)``.

    Attributes
    ----------
    role
        Role of the part: ``q``, ``k`` or ``v`` (``gate``, ``m2`` for fused gated MLPs).
    shape
        Shape to give the fused tensor before narrowing; the product equals its size.
    axis, start, stop
        The range to take, along which axis of `shape`.
    """

    role: str
    shape: tuple[int, ...]
    axis: int
    start: int
    stop: int
