"""What LoRA adapters add to matrices, told by their factors alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from bitfit_probe.frozen import Frozen

if TYPE_CHECKING:
    from bitfit_probe.records.tensors import TensorInfo

__all__ = ["Update", "UpdateDelta", "UpdateState"]

#: Of two updates of one matrix: the same factors; other factors (rotated ones, say) of the same product, up
#: to their rounding; another product.
UpdateState = Literal["same", "same-product", "moved"]


class Update(Frozen):
    """ΔW = s·B·A of one matrix.

    Attributes
    ----------
    name, info, shape
        The matrix in the tuned model, its place, and (outputs, inputs).
    rank, scale
        Of the stored factors: r, and s.
    norm, spectral_norm
        ‖ΔW‖_F and its largest singular value; None where a factor is not finite.
    effective_rank
        exp of the entropy of the singular values, at most `rank`; 0 where ΔW is 0.
    b_is_zero
        Whether B is as LoRA starts it, so that nothing was trained there.
    at_rest
        Whether ΔW is exactly 0.
    has_magnitudes
        Whether DoRA's magnitudes go with it: what the matrix becomes then takes the base, and `norm` is that
        of s·B·A alone.
    """

    name: str
    info: TensorInfo
    shape: tuple[int, ...]
    rank: int
    scale: float
    norm: float | None
    spectral_norm: float | None
    effective_rank: float | None
    b_is_zero: bool
    at_rest: bool | None
    has_magnitudes: bool = False


class UpdateDelta(Frozen):
    """Two adapters' updates of one matrix. A figure is None where a factor is not finite or it is undefined.

    Attributes
    ----------
    name, info, shape
        The matrix, its place, and (outputs, inputs).
    ranks, effective_ranks
        Of either side: rows of A, and exp of the entropy of the singular values of s·B·A.
    state
        ``same``, ``same-product`` or ``moved``; see `UpdateState`.
    base_norm, tuned_norm, delta_norm
        ‖ΔW‖_F of either side and of their difference.
    relative
        ``delta_norm`` / ``base_norm``: by how much of its ΔW the module moved on.
    cosine
        Between both ΔW.
    delta_rank
        Effective rank of the difference; None where that is rounding.
    """

    name: str
    info: TensorInfo
    shape: tuple[int, ...]
    ranks: tuple[int, int]
    state: UpdateState
    base_norm: float | None = None
    tuned_norm: float | None = None
    delta_norm: float | None = None
    relative: float | None = None
    cosine: float | None = None
    effective_ranks: tuple[float, float] | None = None
    delta_rank: float | None = None
