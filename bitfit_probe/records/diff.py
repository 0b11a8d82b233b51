"""What was compared, and how far it moved."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from bitfit_probe.frozen import Frozen
from bitfit_probe.records.model_parts import ModelPart, Verdict

if TYPE_CHECKING:
    import pandas

    from bitfit_probe.records.coverage import Coverage
    from bitfit_probe.records.failures import Failure
    from bitfit_probe.records.tensors import TensorInfo
    from bitfit_probe.records.updates import UpdateDelta

__all__ = [
    "AdapterFacts",
    "CheckpointInfo",
    "Comparison",
    "Diff",
    "JudgedBy",
    "Retyped",
    "RoleDelta",
    "Summary",
    "TensorDelta",
    "Unmatched",
    "Verdict",
]

#: How a tensor was judged: its bytes were compared; its container claims an equal checksum; the tuned file
#: (an adapter, a file of biases) leaves it out, so that it is the base's own; not at all.
JudgedBy = Literal["compared", "checksum", "not-in-file", "not-checked"]

#: The first module with weights keeps its own names, the others stand behind their numbered folder's.
_LATER_MODULE = re.compile(r"\d+_[A-Z]\w*\.")


@dataclass(frozen=True)
class TensorDelta:
    """How far one tensor moved. A figure that was not computed, or is beyond float64, is None.

    With b the base, t the tuned tensor, Δ = t − b, n the number of elements that are finite on both sides.
    Sums, norms, means and the maximum run over these n; shares are of all elements.

    Attributes
    ----------
    name, tuned_name
        The tensor's name in either checkpoint.
    part
        Which part of a fused tensor the row is about (``q``, ``k``, ``v``), or None for the whole.
    place
        Role, layer, stack and kind.
    shape
        Shape that was compared.
    base_dtype, tuned_dtype
        Stored element types.
    identical
        The same bits in the same element type; None where not checked.
    judged_by
        How that was found out.
    mean_abs_delta
        Σ|Δ| / n; None where n is 0. The amount of change of the BitFit paper (Ben Zaken et al.
        2022, §5).
    l1_delta, l2_delta, max_abs_delta
        ‖Δ‖₁, ‖Δ‖₂, max|Δ|.
    relative_l2
        ‖Δ‖₂ / max(‖b‖₂, ‖t‖₂), in [0, 2]; 0 where both are zero. The larger of both norms as the scale
        keeps it meaningful for all-zero bases, for which it is 1.
    mean_shift
        ΣΔ / n; None where n is 0.
    cosine
        ⟨b, t⟩ / (‖b‖₂ ‖t‖₂); exactly 1 where t has the values of b. None where a norm is 0.
    changed_fraction
        Share of all elements with another value, NaN being the value NaN.
    sign_flips
        Number of elements whose sign turned, zeros aside.
    nonfinite_base, nonfinite_tuned
        Number of NaN and infinite elements.
    rounding_floor
        u·‖b‖₂ + √N·s/2 with N all elements, the most that rounding b between the two element types can add to
        ‖Δ‖₂, with u the larger unit roundoff of both and s the larger smallest subnormal (Higham 2002, §2.2).
    above_rounding
        Share of all elements that differ by more than a cast to the other side's element type explains.
    cast_through
        Element type that the tuned values went through before they were stored in a finer one.
    """

    name: str
    tuned_name: str
    part: str | None
    info: TensorInfo
    shape: tuple[int, ...]
    base_dtype: str
    tuned_dtype: str
    identical: bool | None
    judged_by: JudgedBy
    mean_abs_delta: float | None = None
    l1_delta: float | None = None
    l2_delta: float | None = None
    max_abs_delta: float | None = None
    relative_l2: float | None = None
    mean_shift: float | None = None
    cosine: float | None = None
    changed_fraction: float | None = None
    sign_flips: int | None = None
    nonfinite_base: int | None = None
    nonfinite_tuned: int | None = None
    rounding_floor: float | None = None
    above_rounding: float | None = None
    cast_through: str | None = None
    base_l2: float | None = None
    tuned_l2: float | None = None

    @property
    def moved(self) -> bool | None:
        """Whether it changed by more than rounding; None where not checked."""
        if self.identical is None:
            return None
        if self.identical or not self.parameters:
            return False
        if self.above_rounding is None:  # compared as bytes only
            return True
        return self.above_rounding > 0

    @property
    def after_pooling(self) -> bool:
        """Whether it is of a later module of sentence-transformers (``2_Dense``), trained as a head is."""
        return _LATER_MODULE.match(self.name) is not None

    @property
    def parameters(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def base_left(self) -> float | None:
        """Slope of t on b, ⟨t, b⟩ / ‖b‖²: 1 for a tensor at rest, whose norms were not needed.

        The share of the base that is still in the tuned tensor: training adds to the base and leaves it near
        1 however far it goes, where the cosine alone would fall as well. None where it is not known.
        """
        if self.identical:
            return 1.0
        if self.cosine is None or not self.base_l2 or self.tuned_l2 is None:
            return None
        return self.cosine * self.tuned_l2 / self.base_l2


class Retyped(Frozen):
    """Tensors of one element type in the base and another one in the tuned side, and the ratio of sizes."""

    base_dtype: str
    tuned_dtype: str
    tensors: int
    parameters: int
    size_ratio: float


class Unmatched(Frozen):
    """A tensor that has no partner on the other side.

    Attributes
    ----------
    name, shape, place
        Which one.
    why
        ``absent`` (no such tensor), ``shape`` (a partner of another shape), ``tied`` (stored once under
        another name), ``rows`` (rows beyond those that both sides have), ``codes`` (whole numbers on one side
        and floats on the other: a quantised partner).
    """

    name: str
    shape: tuple[int, ...]
    info: TensorInfo
    why: Literal["absent", "shape", "tied", "rows", "codes"]


class RoleDelta(Frozen):
    """The biases of one role in one layer, taken together."""

    role: str
    stack: str | None
    layer: int | None
    tensors: int
    moved: int
    mean_abs_delta: float | None
    max_abs_delta: float | None
    relative_l2: float | None


class CheckpointInfo(Frozen):
    """One checkpoint in figures; `unread` are weight files and folders beside it that were left alone."""

    path: str
    format: str
    tensors: int
    parameters: int
    biases: int
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


class Summary(Frozen):
    """A comparison in figures. Fused tensors count once.

    Attributes
    ----------
    changed_tensors, compared_tensors, changed_parameters, compared_parameters
        Counts over everything that both sides have; *changed* means by more than rounding.
    bias_parameters, changed_bias_parameters, biases, changed_biases
        The same over biases outside the head: elements, then tensors.
    relative_l2
        ‖Δ‖₂ / ‖b‖₂ over all compared float tensors outside the head and the buffers.
    head_changed
        The tuned head has other values than the base's, or the base has none.
    head
        ``none``, ``same``, ``changed``, ``new``, ``dropped`` or ``not-checked``.
    offenders
        Tensors that moved although the verdict's method leaves them alone.
    judged_by
        How many tensors were compared, taken by checksum, not checked, and (where any) not in the file.
    rounded_to
        Element type through which the tuned side was cast, where it is coarser than the base's.
    nonfinite_tensors
        How many tensors of the tuned side hold NaN or infinite values.
    base_left, matrix_cosine
        Medians over the matrices outside the head of ⟨t, b⟩ / ‖b‖² and of the cosine, both 1 for a matrix at
        rest; None where no matrix was compared.
    unrelated
        Both medians are below a half: another model, or one that was trained anew.
    retyped
        Element types that differ, most elements first.
    quantised
        The quantised element type of one side, where rounding to it explains what differs from the other,
        plain one; that is the tuned side where it is `rounded_to` as well.
    quantisation_loss
        ‖Δ‖₂ / ‖b‖₂ over the tensors that are quantised on one side and at rest up to a step; None without.
    """

    changed_tensors: int
    compared_tensors: int
    changed_parameters: int
    compared_parameters: int
    bias_parameters: int
    changed_bias_parameters: int
    biases: int
    changed_biases: int
    relative_l2: float | None
    head_changed: bool
    head: Literal["none", "same", "changed", "new", "dropped", "not-checked"]
    offenders: tuple[str, ...]
    judged_by: dict[str, int]
    rounded_to: str | None = None
    nonfinite_tensors: int = 0
    base_left: float | None = None
    matrix_cosine: float | None = None
    unrelated: bool = False
    retyped: tuple[Retyped, ...] = ()
    quantised: str | None = None
    quantisation_loss: float | None = None


class AdapterFacts(Frozen):
    """A PEFT adapter in figures.

    Attributes
    ----------
    method
        Its name, such as ``LoRA``, ``rsLoRA``, ``DoRA``, ``IA3`` or ``MLX LoRA``.
    ranks, scales
        The different ranks and scales s of W + s·B·A, smallest first; empty for methods without factors.
    targets
        Last names of the modules that it changes, such as ``query``.
    modules
        How many modules these are.
    bias
        Which biases were trained beside them: ``none``, ``all``, ``lora_only``.
    stored
        How many tensors the file holds whole: biases, saved modules, norms.
    incomplete
        Modules of which a factor is missing or empty.
    base
        What the configuration names as its base.
    misranked
        By module, the rank that the configuration promises and that of the factors, where they differ.
    rows
        By tensor, how many rows of it were trained alone (token rows); its module is none of `modules`.
    """

    method: str
    ranks: tuple[int, ...]
    scales: tuple[float, ...]
    targets: tuple[str, ...]
    modules: int
    bias: str
    stored: int
    incomplete: tuple[str, ...]
    base: str | None
    misranked: dict[str, tuple[int, int]] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)


class Comparison(Frozen):
    """One tuned checkpoint beside the base.

    Where both are adapters, `base_adapter` is the base's, and `updates` says of each matrix that both change
    by factors how far its ΔW moved on; its row in `tensors` is that of ΔW.
    """

    tuned: CheckpointInfo
    verdict: Verdict
    summary: Summary
    tensors: tuple[TensorDelta, ...]
    roles: tuple[RoleDelta, ...]
    unmatched_base: tuple[Unmatched, ...]
    unmatched_tuned: tuple[Unmatched, ...]
    coverage: Coverage
    notes: tuple[str, ...] = ()
    key_bias_cancels: bool | None = None
    adapter: AdapterFacts | None = None
    base_adapter: AdapterFacts | None = None
    updates: tuple[UpdateDelta, ...] = ()
    model_parts: tuple[ModelPart, ...] = ()


class Diff(Frozen):
    """A base and what was tuned from it.

    Attributes
    ----------
    base, architecture, architecture_known_from
        The base, and the family that its names are read by.
    comparisons
        One a tuned checkpoint that could be read and compared.
    failures
        The others, where there are several.
    """

    base: CheckpointInfo
    architecture: str
    architecture_known_from: str
    comparisons: tuple[Comparison, ...] = field(default=())
    failures: tuple[Failure, ...] = ()

    def frame(self) -> pandas.DataFrame:
        """One row a tensor and tuned checkpoint, as a pandas frame."""
        from bitfit_probe.records.frames import frame_class

        rows: list[dict[str, Any]] = []
        for comparison in self.comparisons:
            for row in comparison.tensors:
                info = asdict(row.info)
                figures = {name: value for name, value in vars(row).items() if name != "info"}
                rows.append({"tuned": comparison.tuned.path, **info, **figures})
        return frame_class()(rows)
