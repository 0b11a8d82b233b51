"""How biases are grouped: by role, layer, both, or each for itself; and which of them softmax cancels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bitfit_probe.records import Comparison, TensorDelta
from bitfit_probe.records.measures import By, Group

__all__ = ["Member", "biases", "grouped", "is_cancelled", "tensor_label"]

#: Roles whose bias adds the same number to all scores of a query, so that softmax drops it: the key
#: projections of self- and cross-attention.
_KEYS = frozenset({"k", "xk"})
#: Roles outside the published figure, which shows the layers alone.
_UNPUBLISHED = frozenset({"embLN", "pooler"})

Member = tuple[Group, list[TensorDelta]]


def biases(comparison: Comparison, *, paper: bool = False) -> Iterator[TensorDelta]:
    """The biases outside the head; with `paper` only those that the BitFit paper's figure shows."""
    for row in comparison.tensors:
        outside = row.info.layer is None or row.info.role in _UNPUBLISHED
        if row.info.kind == "bias" and not (paper and outside):
            yield row


def is_cancelled(comparison: Comparison, row: TensorDelta) -> bool:
    """Whether softmax cancels this bias, so that moving it changes no output.

    True for key biases of architectures with plain dot-product attention; rotary positions (GPT-NeoX, Phi,
    Qwen2) and DeBERTa's disentangled attention make the key bias count.
    """
    if row.info.role not in _KEYS:
        return False
    own = (part.key_bias_cancels for part in comparison.model_parts if part.name == row.info.stack)
    return next(own, comparison.key_bias_cancels) is True


def tensor_label(row: TensorDelta) -> str:
    """The base's name of a tensor, with the part where it is a part of a fused one."""
    return f"{row.name}[{row.part}]" if row.part else row.name


def grouped(comparison: Comparison, by: By, *, paper: bool = False) -> list[Member]:
    """Biases in groups, in the order in which they are met.

    By layer, the biases outside the layers make the group ``outside``, and those that softmax cancels one
    group a role: a bias without effect never shares a group with others. With `paper` it does.
    """
    found: dict[tuple[str | None, str, int | None, str], list[TensorDelta]] = {}
    for row in biases(comparison, paper=paper):
        apart = is_cancelled(comparison, row) and not paper
        found.setdefault(_key(row, by, apart=apart), []).append(row)
    return [(_group(comparison, key, rows), rows) for key, rows in found.items()]


def _key(row: TensorDelta, by: By, *, apart: bool) -> tuple[str | None, str, int | None, str]:
    """Stack, role, layer and label of the group that a bias belongs to; empty where that tells nothing."""
    info, role = row.info, row.info.role or "other"
    if by == "layer":
        return (info.stack, role, None, "") if apart else (info.stack, _layer_role(row), info.layer, "")
    if by == "role":
        return info.stack, role, None, ""
    return info.stack, role, info.layer, tensor_label(row) if by == "tensor" else ""


def _layer_role(row: TensorDelta) -> str:
    return "outside" if row.info.layer is None else ""


def _group(
    comparison: Comparison, key: tuple[str | None, str, int | None, str], rows: Sequence[TensorDelta]
) -> Group:
    stack, role, layer, _ = key
    return Group(
        role=role or None,
        stack=stack,
        layer=layer,
        names=tuple(tensor_label(row) for row in rows),
        elements=sum(row.parameters for row in rows),
        no_effect=all(is_cancelled(comparison, row) for row in rows),
    )
