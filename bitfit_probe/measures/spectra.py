"""The singular values of what training did to matrices: how many directions it took, how hard it pulled.

A merged LoRA of rank r has r singular values above rounding, full fine-tuning hundreds. Everything here is
float64 from exactly widened values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bitfit_probe.align import Alignment, Pair, unwrapped
from bitfit_probe.checkpoint.tensor import Tensor
from bitfit_probe.errors import NothingAlignsError
from bitfit_probe.measures.groups import tensor_label
from bitfit_probe.measures.lora import LoraUpdate
from bitfit_probe.records import Comparison, TensorDelta
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
    adapter: Mapping[str, LoraUpdate] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Spectrum, ...]:
    """Singular values of the change of every matrix that moved, outside the head.

    Parameters
    ----------
    alignment, comparison
        The same pair of checkpoints, laid side by side and compared.
    adapter
        Its LoRA updates by matrix (`bitfit_probe.measures.lora.read_lora`); the matrices that it targets are
        measured whether they moved or not.
    progress
        Told about elements done and to do.

    Returns
    -------
    tuple of Spectrum
        In the base's order, without those that `left_out` names.

    Raises
    ------
    NothingAlignsError, ShapesError
        The adapter belongs to another model.
    """
    updates = _by_base_name(alignment, adapter or {})
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


def _by_base_name(alignment: Alignment, adapter: Mapping[str, LoraUpdate]) -> dict[str, LoraUpdate]:
    """Updates by the base's name of their matrix, whatever stands before the adapter's names."""
    canonical = alignment.architecture.canonical
    names = {canonical(unwrapped(pair.base.name)): pair.base for pair in alignment.pairs if pair.part is None}
    found = {}
    for name, update in adapter.items():
        spellings = [canonical(name), *_shorter(name)]
        key = next((spelling for spelling in spellings if spelling in names), None)
        if key is not None:
            update.check_fits(names[key].shape)
            found[names[key].name] = update
    if adapter and not found:
        raise NothingAlignsError(
            f"no matrix of the adapter is one of the base (for example {next(iter(adapter))!r})",
            advice="give the adapter that was trained on this base",
        )
    return found


def _shorter(name: str) -> Iterator[str]:
    """`name` without its first component, without the first two, and so on."""
    parts = name.split(".")
    yield from (".".join(parts[start:]) for start in range(1, len(parts) - 1))


def _is_moved_matrix(row: TensorDelta) -> bool:
    return bool(row.moved) and row.place.kind in ("weight", "embedding") and len(row.shape) >= 2


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


def _spectrum(pair: Pair, row: TensorDelta, update: LoraUpdate | None) -> Spectrum:
    pass_ = _one_pass(pair, update)
    values = pass_.singular_values
    squares = values**2
    energy = float(squares.sum())
    return Spectrum(
        name=tensor_label(row),
        role=row.place.role,
        layer=row.place.layer,
        shape=(row.shape[0], math.prod(row.shape[1:])),
        singular_values=tuple(map(float, values)),
        effective_rank=effective_rank(values),
        stable_rank=energy / float(squares[0]) if energy else 0.0,
        energy=tuple(energy_at(values, RANKS)),
        spectral_norm=float(values[0]),
        base_spectral_norm=pass_.base_norm,
        top_row_share=_top_share(pass_.row_squares),
        merge_strength=pass_.merge_strength,
        stack=row.place.stack,
    )


def effective_rank(values: Sequence[float] | Matrix) -> float:
    """exp(−Σ p ln p) with p = σ/Σσ (Roy & Vetterli 2007, EUSIPCO); 0 where nothing moved.

    >>> effective_rank([2.0, 2.0, 2.0]), effective_rank([1.0, 0.0])
    (3.0000000000000004, 1.0)
    """
    sigma = np.asarray(values, np.float64)
    share = sigma[sigma > 0] / sigma.sum() if sigma.any() else sigma[:0]
    return float(np.exp(-np.sum(share * np.log(share)))) if share.size else 0.0


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


def _one_pass(pair: Pair, update: LoraUpdate | None) -> _Pass:
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
        delta = np.subtract(tuned, base, out=tuned)
        squares[start:stop] = np.einsum("ij,ij->i", delta, delta)
        strength.add(delta, start, stop)
        reduced = delta if step == rows else _triangle(np.vstack([reduced, delta]))
    values: Matrix = np.asarray(np.linalg.svd(reduced, compute_uv=False), np.float64)
    return _Pass(values, _largest_root(gram), squares, strength.value())


def _triangle(matrix: Matrix) -> Matrix:
    """R of QR, which has the singular values of `matrix`."""
    return np.asarray(np.linalg.qr(matrix, mode="r"), np.float64)


def _largest_root(gram: Matrix) -> float:
    """σ₁ of the matrix that `gram` belongs to; NaN where that holds NaN or infinite values."""
    if not np.isfinite(gram).all():
        return math.nan
    return math.sqrt(max(float(np.linalg.eigvalsh(gram)[-1]), 0.0))


class _Strength:
    """α* = ⟨Δ, s·B·A⟩ / ‖s·B·A‖², without ever forming the product: ⟨Δ, LR⟩ = ⟨LᵀΔ, R⟩."""

    def __init__(self, update: LoraUpdate | None) -> None:
        self._factors = None if update is None else update.factors()
        self._product = 0.0

    def add(self, delta: Matrix, start: int, stop: int) -> None:
        if self._factors is not None:
            left, right = self._factors
            self._product += float(np.sum((left[start:stop].T @ delta) * right))

    def value(self) -> float | None:
        if self._factors is None:
            return None
        left, right = self._factors
        size = float(np.sum((left.T @ left) * (right @ right.T)))
        return self._product / size if size else None


def _rows(tensor: Tensor, start: int, stop: int) -> Matrix:
    columns = math.prod(tensor.shape[1:])
    raw = np.empty((stop - start) * columns, tensor.dtype.storage)
    tensor.read(start * columns, stop * columns, raw)
    out = np.empty(raw.shape)
    tensor.dtype.decode(raw, out)
    return out.reshape(stop - start, columns)
