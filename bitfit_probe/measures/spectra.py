"""The singular values of what training did to matrices: how many directions it took, how hard it pulled.

A merged LoRA of rank r has r singular values above rounding, full fine-tuning hundreds. Everything here is
float64 from exactly widened values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bitfit_probe.align import Alignment, TensorPair
from bitfit_probe.checkpoint.storage.tensor import Tensor
from bitfit_probe.comparison.updates import effective_rank
from bitfit_probe.measures.groups import tensor_label
from bitfit_probe.records import Comparison, TensorDelta, TensorInfo
from bitfit_probe.records.measures import Spectrum

if TYPE_CHECKING:
    import numpy.typing as npt

    Matrix = npt.NDArray[np.float64]

__all__ = ["RANKS", "left_out", "spectra"]

#: Ranks at which the energy is given: those in use for LoRA.
RANKS = (1, 2, 4, 8, 16, 32, 64, 128)
#: Share of the rows whose energy `top_row_share` adds up.
_TOP_ROWS = 0.01
#: Smaller side beyond which singular values take hours, and elements beyond which they don't fit in memory.
_LONGEST_SIDE, _MOST_ELEMENTS = 1 << 13, 1 << 27
#: Taller than this, a matrix is read in blocks of rows instead of as a whole.
_TALL = 4
_ELEMENTS_A_BLOCK = 1 << 22


def spectra(
    alignment: Alignment,
    comparison: Comparison,
    *,
    adapter: Alignment | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Spectrum, ...]:
    """Singular values of the change of every matrix that moved, outside the head.

    Parameters
    ----------
    alignment, comparison
        The same pair of checkpoints, laid side by side and compared.
    adapter
        The same base beside the adapter that was merged into it: its pairs hold b and b + s·B·A. The matrices
        that it targets are measured whether they moved or not.
    progress
        Told about elements done and to do.

    Returns
    -------
    tuple of Spectrum
        In the base's order, without those that `left_out` names.
    """
    updates = _by_base_name(adapter)
    todo = []
    for pair, row in zip(alignment.pairs, comparison.tensors, strict=True):
        update = updates.get(row.name) if row.part is None else None
        if (_is_moved_matrix(row) or update is not None) and _why_not(row) is None:
            todo.append((pair, row, update))
    done, total = 0, sum(row.parameters for _, row, _ in todo)
    out = []
    for pair, row, update in todo:
        out.append(_spectrum(pair, row, update))
        done += row.parameters
        if progress is not None:
            progress(done, total)
    return tuple(out)


def left_out(comparison: Comparison) -> tuple[tuple[str, str], ...]:
    """Matrices that moved and that `spectra` does not measure, each with the reason."""
    reasons = ((row, _why_not(row)) for row in comparison.tensors if _is_moved_matrix(row))
    return tuple((tensor_label(row), why) for row, why in reasons if why is not None)


def _by_base_name(adapter: Alignment | None) -> dict[str, TensorPair]:
    """The matrices that an adapter changes, by the base's name; what it leaves alone is the base's own."""
    pairs = adapter.pairs if adapter is not None else ()
    changed = (pair for pair in pairs if pair.tuned.storage is not pair.base.storage and pair.part is None)
    return {pair.base.name: pair for pair in changed if _is_matrix(pair.info, pair.base.shape)}


def _is_matrix(info: TensorInfo, shape: tuple[int, ...]) -> bool:
    return info.kind in ("weight", "embedding") and len(shape) >= 2


def _is_moved_matrix(row: TensorDelta) -> bool:
    return bool(row.moved) and _is_matrix(row.info, row.shape)


def _why_not(row: TensorDelta) -> str | None:
    rows, columns = row.shape[0], math.prod(row.shape[1:])
    if row.identical is None or row.judged_by == "not-checked":
        return "not checked"
    if not row.identical and row.l2_delta is None:
        return f"values of {row.tuned_dtype} can't be subtracted"
    if row.nonfinite_base or row.nonfinite_tuned:
        return "holds NaN or infinite values"
    if min(rows, columns) > _LONGEST_SIDE:
        return f"both sides are longer than {_LONGEST_SIDE:,}"
    if rows * columns > _MOST_ELEMENTS and rows <= _TALL * columns:
        return f"has more than {_MOST_ELEMENTS:,} elements"
    return None


def _spectrum(pair: TensorPair, row: TensorDelta, update: TensorPair | None) -> Spectrum:
    pass_ = _one_pass(pair, update)
    values = pass_.singular_values
    squares = values**2
    energy = float(squares.sum())
    return Spectrum(
        name=tensor_label(row),
        role=row.info.role,
        layer=row.info.layer,
        shape=(row.shape[0], math.prod(row.shape[1:])),
        singular_values=tuple(map(float, values)),
        effective_rank=effective_rank(values),
        stable_rank=energy / float(squares[0]) if energy else 0.0,
        energy=tuple(energy_at(values, RANKS)),
        spectral_norm=float(values[0]),
        base_spectral_norm=pass_.base_norm,
        top_row_share=_top_share(pass_.row_squares),
        merge_strength=pass_.merge_strength,
        stack=row.info.stack,
    )


def energy_at(values: Matrix, ranks: Sequence[int]) -> Iterator[tuple[int, float]]:
    """Share of ‖Δ‖_F² in the first r singular values, for each r up to their number."""
    sums = np.cumsum(values**2)
    for rank in ranks:
        if rank <= len(values):
            yield rank, float(sums[rank - 1] / sums[-1]) if sums[-1] else 0.0


def _top_share(row_squares: Matrix) -> float:
    count = max(math.ceil(_TOP_ROWS * len(row_squares)), 1)
    total = float(row_squares.sum())
    return float(np.sort(row_squares)[-count:].sum()) / total if total else 0.0


@dataclass(frozen=True)
class _Pass:
    singular_values: Matrix
    base_norm: float
    row_squares: Matrix
    merge_strength: float | None


def _one_pass(pair: TensorPair, update: TensorPair | None) -> _Pass:
    """Everything that takes the values, block of rows by block of rows.

    A tall matrix is reduced by QR block after block (Demmel et al. 2012, TSQR), which keeps all digits of all
    singular values; those of a Gram matrix would be lost below 1e-8·σ₁. The base's largest one alone is
    taken from its Gram matrix, whose largest eigenvalue is exact to rounding.
    """
    rows, columns = pair.base.shape[0], math.prod(pair.base.shape[1:])
    step = max(_ELEMENTS_A_BLOCK // columns, columns, 1) if rows > _TALL * columns else rows
    wide = columns > rows
    gram = np.zeros((min(rows, columns),) * 2)
    strength = _Strength(update)
    squares, reduced = np.empty(rows), np.empty((0, columns))
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        base, tuned = (_rows(tensor, start, stop) for tensor in (pair.base, pair.tuned))
        gram += base @ base.T if wide else base.T @ base
        delta = _difference(tuned, base)
        squares[start:stop] = np.einsum("ij,ij->i", delta, delta)
        strength.add(delta, start, stop)
        reduced = delta if step == rows else _triangle(np.vstack([reduced, delta]))
    values: Matrix = np.asarray(np.linalg.svd(reduced, compute_uv=False), np.float64)
    return _Pass(values, _largest_root(gram), squares, strength.value())


def _difference(tuned: Matrix, base: Matrix) -> Matrix:
    """Δ, in the place of `tuned`; 0 where values are not finite, as only those of equal bytes can be."""
    with np.errstate(invalid="ignore"):
        delta = np.subtract(tuned, base, out=tuned)
    return np.nan_to_num(delta, copy=False, nan=0.0)


def _triangle(matrix: Matrix) -> Matrix:
    """R of QR, which has the singular values of `matrix`."""
    return np.asarray(np.linalg.qr(matrix, mode="r"), np.float64)


def _largest_root(gram: Matrix) -> float:
    """σ₁ of the matrix that `gram` belongs to; NaN where that holds NaN or infinite values."""
    if not np.isfinite(gram).all():
        return math.nan
    return math.sqrt(max(float(np.linalg.eigvalsh(gram)[-1]), 0.0))


class _Strength:
    """α* = ⟨Δ, s·B·A⟩ / ‖s·B·A‖², the least-squares share of the adapter's update in Δ, block by block."""

    def __init__(self, update: TensorPair | None) -> None:
        self._update = update
        self._product = self._size = 0.0

    def add(self, delta: Matrix, start: int, stop: int) -> None:
        if self._update is not None:
            with np.errstate(invalid="ignore"):
                update = _rows(self._update.tuned, start, stop) - _rows(self._update.base, start, stop)
            self._product += float(np.vdot(delta, update))
            self._size += float(np.vdot(update, update))

    def value(self) -> float | None:
        return self._product / self._size if 0 < self._size < math.inf else None


def _rows(tensor: Tensor, start: int, stop: int) -> Matrix:
    columns = math.prod(tensor.shape[1:])
    raw = np.empty((stop - start) * columns, tensor.dtype.storage)
    tensor.read(start * columns, stop * columns, raw)
    out = np.empty(raw.shape)
    tensor.dtype.decode(raw, out)
    return out.reshape(stop - start, columns)
