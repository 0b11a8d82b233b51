"""What was measured on a comparison: rankings, reverting, likeness, spectra, training length.

Groups are named by ``role``, ``stack`` and ``layer``; None stands for "all of them taken together".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from bitfit_probe.frozen import Frozen

if TYPE_CHECKING:
    import pandas

__all__ = [
    "Adequacy",
    "By",
    "Group",
    "Likeness",
    "Ranked",
    "Ranking",
    "Revert",
    "Reverting",
    "Spectrum",
    "State",
    "StepsFrom",
    "Trajectory",
]

By = Literal["role", "layer", "role-layer", "tensor"]

#: What a run's length comes to.
State = Literal["untrained", "under-trained", "healthy", "blown-up", "decayed", "impossible", "inconclusive"]

#: How the steps of several checkpoints are known.
StepsFrom = Literal["trainer_state.json", "folder names", "order given"]


class Group(Frozen):
    """A set of biases that is ranked or reverted as one.

    Attributes
    ----------
    role, stack, layer
        What its members share; None where they differ or have none.
    names
        The base's names of its tensors, ``name[q]`` for a part of a fused one.
    elements
        Number of elements in all.
    no_effect
        Whether softmax cancels these biases, so that moving them changes nothing (key biases of
        architectures with plain dot-product attention).
    """

    role: str | None
    stack: str | None
    layer: int | None
    names: tuple[str, ...]
    elements: int
    no_effect: bool = False

    @property
    def label(self) -> str:
        """A short name: ``q 3``, ``m2``, ``layer 5``."""
        parts = [self.stack or "", self.role or ("layer" if self.layer is not None else "")]
        parts.append("" if self.layer is None else str(self.layer))
        return " ".join(part for part in parts if part) or "all"


class Ranked(Frozen):
    """One group's movement by every measure; None where a measure was not computed.

    Attributes
    ----------
    mean_abs_delta
        1/dim(b)·‖Δb‖₁ (Ben Zaken et al. 2022, §5).
    relative_l2
        ‖Δ‖₂ / max(‖b‖₂, ‖t‖₂).
    beft
        1 − ⟨t, b⟩ / max(‖b‖₂, ‖t‖₂)² (arXiv 2509.15974).
    cosine, mean_shift
        Direction: ⟨b, t⟩/(‖b‖‖t‖), and the mean of Δ.
    fisher
        Mean squared gradient of the loss, per element, where data was given.
    above_rounding
        Share of elements that moved by more than rounding.
    noise_floor
        Nothing in it moved by more than rounding.
    tied
        Its mean|Δ| is within rounding of the next one's.
    """

    group: Group
    mean_abs_delta: float | None
    relative_l2: float | None
    beft: float | None
    cosine: float | None
    mean_shift: float | None
    above_rounding: float | None
    fisher: float | None = None
    noise_floor: bool = False
    tied: bool = False


class Ranking(Frozen):
    """Groups of one tuned checkpoint's biases, those that moved most first; "no effect" ones last.

    With `paper` in the BitFit paper's order, by its sums and with its exclusions.
    """

    by: By
    rows: tuple[Ranked, ...]
    paper: bool = False

    def frame(self) -> pandas.DataFrame:
        """One row a group, as a pandas frame: what it is, then every measure."""
        from bitfit_probe.records.frames import frame_class

        rows: list[dict[str, Any]] = []
        for row in self.rows:
            figures = {name: value for name, value in vars(row).items() if name != "group"}
            rows.append({"label": row.group.label, **vars(row.group), **figures})
        return frame_class()(rows)


class Revert(Frozen):
    """What putting one group back to the base's values did, on labelled examples.

    Attributes
    ----------
    loss_change, loss_interval
        Mean over examples of loss(reverted) − loss(tuned), with its confidence interval.
    accuracy_change, accuracy_interval
        The same for accuracy, as a share; None for regressions.
    examples
        How many examples were used.
    logit_change
        Largest |Δ logit| seen; of language models the logits of the right tokens.
    free
        The group can go back without loss: the interval's upper bound is below the tolerance.
    matters
        The interval's lower bound is above the tolerance.
    """

    group: Group
    loss_change: float
    loss_interval: tuple[float, float]
    accuracy_change: float | None
    accuracy_interval: tuple[float, float] | None
    examples: int
    logit_change: float
    free: bool
    matters: bool = False

    @property
    def verdict(self) -> Literal["matters", "free", "undecided", "no effect"]:
        """What the interval says; ``no effect`` where softmax cancels the group whatever its values."""
        if self.group.no_effect:
            return "no effect"
        return "matters" if self.matters else "free" if self.free else "undecided"


class Reverting(Frozen):
    """All groups put back one at a time, those that matter most first.

    Attributes
    ----------
    by
        How the biases were grouped.
    loss, accuracy
        The tuned model's, over all examples; accuracy None where there are no classes.
    confidence
        Of each interval, whenever its group was decided.
    tolerance
        The rise of the loss that is taken for none.
    rows
        One a group that moved or was met in the model.
    examples
        How many examples there were.
    unit
        What losses are counted in: ``nats``, or ``label variances`` for a regression.
    together
        All groups that are free or without effect, put back at the same time; None where there are fewer
        than two.
    notes
        What a person should know about the data and the model.
    """

    by: By
    loss: float
    accuracy: float | None
    confidence: float
    tolerance: float
    rows: tuple[Revert, ...]
    examples: int = 0
    unit: str = "nats"
    together: Revert | None = None
    notes: tuple[str, ...] = ()


class Likeness(Frozen):
    """How alike several checkpoints of one base moved.

    Attributes
    ----------
    names
        The tuned checkpoints' paths.
    role
        The role whose deltas are compared, or None for all of them together.
    cosine
        Matrix of cosines between deltas; None where one of the two did not move.
    odd_one_out
        Index into `names` of the one that is least like the others, where one stands out.
    of
        What is compared: bias deltas, or the ΔW of adapters.
    """

    names: tuple[str, ...]
    role: str | None
    cosine: tuple[tuple[float | None, ...], ...]
    odd_one_out: int | None = None
    of: Literal["biases", "updates"] = "biases"


class Trajectory(Frozen):
    """Checkpoints of one run in order.

    Attributes
    ----------
    steps
        The training step of each checkpoint.
    roles
        Roles, in the architecture's order.
    norms
        ‖Δb‖₂ against the base, by role and step.
    moves
        ‖b_step − b_previous step‖₂, by role and step.
    stopped_at
        The step after which each move of a role was below 1 % of its whole path; None if it never was.
    names
        The checkpoints' paths, in the order of the steps.
    steps_from
        How the steps are known.
    """

    steps: tuple[int, ...]
    roles: tuple[str, ...]
    norms: tuple[tuple[float, ...], ...]
    moves: tuple[tuple[float, ...], ...]
    stopped_at: tuple[int | None, ...]
    names: tuple[str, ...] = ()
    steps_from: StepsFrom = "order given"


class Spectrum(Frozen):
    """The singular values of one matrix's change.

    Attributes
    ----------
    singular_values
        σ of Δ, largest first, float64.
    effective_rank
        exp(−Σ p ln p), p = σ/Σσ (Roy & Vetterli 2007).
    stable_rank
        ‖Δ‖_F² / σ₁².
    energy
        Share of ‖Δ‖_F² in the first r singular values, by r.
    spectral_norm, base_spectral_norm
        σ₁ of Δ and of b.
    top_row_share
        Share of ‖Δ‖_F² in the 1 % of rows that moved most (at least one row).
    shape
        Rows and columns; a tensor of more axes is flattened behind its first one.
    merge_strength
        α* = ⟨Δ, s·BA⟩ / ‖s·BA‖² where an adapter was given: 1 merged once, 2 twice, 0 never.
    """

    name: str
    role: str | None
    layer: int | None
    shape: tuple[int, ...]
    singular_values: tuple[float, ...]
    effective_rank: float
    stable_rank: float
    energy: tuple[tuple[int, float], ...]
    spectral_norm: float
    base_spectral_norm: float
    top_row_share: float
    merge_strength: float | None = None
    stack: str | None = None


class Adequacy(Frozen):
    """Whether it was trained enough, as far as the files tell.

    Attributes
    ----------
    max_abs_delta
        Largest |Δ| over the trained tensors outside the head.
    lr_times_steps
        Learning rate × steps that an Adam-like optimiser needs at least to move that far: max|Δ| is at most
        about 1.3 times the sum, and less where the gradient changes its sign.
    said_lr_times_steps
        Sum of the learning rate over the steps by trainer_state.json; None where there is none.
    state
        ``untrained``, ``under-trained``, ``healthy``, ``blown-up``, ``decayed``, ``impossible`` (with this
        log) or ``inconclusive``.
    reasons
        The figures behind `state`, in words.
    decay_cosine
        Cosine between Δ and −b over the trained biases: near 1 means weight decay, not learning.
    """

    max_abs_delta: float | None
    lr_times_steps: float | None
    said_lr_times_steps: float | None
    state: State
    reasons: tuple[str, ...]
    decay_cosine: float | None = None
