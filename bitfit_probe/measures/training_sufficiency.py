"""Was it trained enough? From how far the fastest element moved, beside what the trainer logged.

Adam's steps are about as long as the learning rate while a gradient keeps its sign (Kingma & Ba 2015, §2.1),
so max|Δ| tells the least sum of learning rates that it took. Other optimisers have no such bound.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from bitfit_probe.checkpoint.trainer_state import TrainerState
from bitfit_probe.forms import forms_of_pair
from bitfit_probe.frozen import Frozen
from bitfit_probe.measures.run_log import doubts, first_and_last
from bitfit_probe.measures.siblings import siblings_of
from bitfit_probe.records.forms import NOT_OF_TRAINING
from bitfit_probe.records.measures import Adequacy, State

if TYPE_CHECKING:
    from bitfit_probe.pair import Pair
    from bitfit_probe.records import Comparison, TensorDelta

__all__ = ["LIMITS", "Limits", "adequacy", "adequacy_of", "said_lr_times_steps"]

Answer = tuple[State, tuple[str, ...]]

_BIASES_ONLY = ("bitfit", "bitfit+norm")


class Limits(Frozen):
    """What counts as too little, too much, or something else.

    Attributes
    ----------
    adam_factor
        The most that max|Δ| exceeds the sum of learning rates by, with Adam.
    least_bias_lr_steps, least_full_lr_steps
        The least lr × steps for a run that trains biases (and norms) only, and for others.
    least_lora_change
        The least max|Δ| of a LoRA.
    least_share_of_said, most_share_of_said
        The least and most share of the logged sum of learning rates that the fastest element moves.
    decayed_cosine
        From which cosine between Δ and −b on it was decay that moved the biases.
    most_max_abs_delta, most_loss_growth
        From which max|Δ|, or ratio of last to first loss, on it went wrong.
    most_typical_delta, most_typical_growth
        From which root mean square of all changes on, and how many times that of the base, it went wrong.
    """

    # AdamW at a constant rate moves the fastest element 1.0–1.3 × lr × steps while its gradient keeps its
    # sign, and down to 0.3 times where batches disagree: a tiny BERT, 100 steps at 1e-4 and 1e-3
    # (tests/measures/test_training_sufficiency.py).
    adam_factor: float = 1.3
    # Less than 100 steps at the lowest learning rate searched for BitFit, 1e-4 (Ben Zaken et al. 2022,
    # arXiv 2106.10199, appendix); reported runs use 5e-4 to 1e-2 and thousands of steps.
    least_bias_lr_steps: float = 1e-4 * 100
    # The same for all parameters: 100 steps at 1e-5, the lowest rate in the same paper.
    least_full_lr_steps: float = 1e-5 * 100
    # Fifty times less than its scheduled learning rates let the fastest element move: steps were skipped, or
    # gradients erased. A convention; the fastest element of the embedded sample, after 2,096 steps, moved 0.2
    # times as far.
    least_share_of_said: float = 0.02
    # Adam's step is at most lr·(1 − β₁)/√(1 − β₂) = 3.16·lr with its usual β (Kingma & Ba 2015, §2.1).
    most_share_of_said: float = 3.2
    # Weight decay alone gives cosine 1 between Δ and −b, training near 0 (the embedded sample: −0.10). A
    # convention: at 0.98, learning is at most a fifth of the movement.
    decayed_cosine: float = 0.98
    # No published bias or weight of a healthy model moved so far; a convention.
    most_max_abs_delta: float = 100.0
    # A merged LoRA moves a matrix by a product of two small factors: ten times less than the weights of full
    # fine-tuning. Those of benchmarks/healthy.py have 0.068 to 1.3.
    least_lora_change: float = 1e-4
    # Activations behind a norm have a variance of about 1, which a shift of 1 in every unit drowns. The
    # embedded sample has 0.17, 1.1 times its base; runs at ten times its rate stay below 1. A convention.
    most_typical_delta: float = 1.0
    most_typical_growth: float = 5.0
    # A training loss that ends above twice its start; a convention.
    most_loss_growth: float = 2.0


LIMITS = Limits()


class _Figures(Frozen):
    verdict: str
    unrelated: bool
    moved: bool
    unchecked: bool
    peak: float | None
    lr_steps: float | None
    said: float | None
    decay_cosine: float | None
    typical: tuple[float, float] | None
    log: TrainerState
    nonfinite: bool
    doubts: tuple[str, ...]


def adequacy_of(pair: Pair) -> Adequacy:
    """The one judgement of a pair: by movement, log, forms and siblings; worked out once."""

    def judge() -> Adequacy:
        against = (*_siblings_against(pair), *_forms_against(pair))
        return adequacy(pair.comparison, pair.trainer_state, against=against)

    return pair.once("adequacy", judge)


def _siblings_against(pair: Pair) -> Iterator[str]:
    """What stands out so that it can't be called healthy, unless a setting explains it."""
    few = pair.comparison.verdict in _BIASES_ONLY
    for apart in siblings_of(pair):
        if apart.explained or apart.how in ("kind at rest", "near"):
            continue
        if apart.how == "layers at rest":
            lower = apart.layers == tuple(range(len(apart.layers)))
            if few or not lower or len(apart.layers) >= apart.siblings:
                yield f"nothing moved in {len(apart.layers)} of {len(apart.layers) + apart.siblings} layers"
        elif apart.how != "at rest" or not apart.is_expert:
            yield f"'{apart.tensors[0]}' is {apart.how} beside its siblings".replace("is far", "ran far")


def _forms_against(pair: Pair) -> Iterator[str]:
    """Forms that no training gives."""
    for group in forms_of_pair(pair).groups:
        if group.form.name in NOT_OF_TRAINING and not group.kinds.keys() <= {"head", "buffer"}:
            yield f"{group.subject}: {group.form.says}"


def adequacy(
    comparison: Comparison,
    trainer_state: TrainerState | None,
    *,
    against: Sequence[str] = (),
    limits: Limits = LIMITS,
) -> Adequacy:
    """Tell from the change itself, and from trainer_state.json where there is one, whether it trained enough.

    Parameters
    ----------
    comparison
        What was compared.
    trainer_state
        The log of the run; None where there is none.
    against
        What else speaks against a healthy run.
    limits
        What counts as too little or too much.
    """
    moved = [row for row in comparison.tensors if row.moved and row.info.kind not in ("head", "buffer")]
    peak = max((row.max_abs_delta for row in moved if row.max_abs_delta is not None), default=None)
    figures = _Figures(
        verdict=comparison.verdict,
        unrelated=comparison.summary.unrelated,
        moved=bool(moved),
        unchecked=comparison.summary.judged_by["not-checked"] > 0,
        peak=peak,
        lr_steps=None if peak is None else peak / limits.adam_factor,
        said=None if trainer_state is None else said_lr_times_steps(trainer_state),
        decay_cosine=_decay_cosine([row for row in moved if row.info.kind == "bias"]),
        typical=_typical(moved),
        log=trainer_state or TrainerState(),
        nonfinite=any((row.nonfinite_tuned or 0) > (row.nonfinite_base or 0) for row in moved),
        doubts=(*doubts(trainer_state or TrainerState()), *against),
    )
    state, reasons = _judge(figures, limits)
    return Adequacy(
        max_abs_delta=figures.peak,
        lr_times_steps=figures.lr_steps,
        said_lr_times_steps=figures.said,
        state=state,
        reasons=reasons,
        decay_cosine=figures.decay_cosine,
    )


def _typical(rows: Sequence[TensorDelta]) -> tuple[float, float] | None:
    """Root mean squares of Δ and of b over all that moved; None where a norm is not known."""
    norms = [(row.l2_delta, row.base_l2) for row in rows]
    known = [(delta, base) for delta, base in norms if delta is not None and base is not None]
    size = sum(row.parameters for row in rows)
    if not known or len(known) < len(norms):
        return None
    delta, base = (math.hypot(*side) / math.sqrt(size) for side in zip(*known, strict=True))
    return delta, base


def _decay_cosine(rows: Sequence[TensorDelta]) -> float | None:
    """Cosine between Δ and −b over `rows` end to end, from norms: −⟨Δ, b⟩ = (‖b‖² + ‖Δ‖² − ‖t‖²) / 2."""
    norms = [(row.base_l2, row.tuned_l2, row.l2_delta) for row in rows]
    known = [(b, t, d) for b, t, d in norms if b is not None and t is not None and d is not None]
    unit = max(map(max, known), default=0.0)
    if not unit or len(known) < len(norms):
        return None
    base, tuned, delta = (math.fsum((norm / unit) ** 2 for norm in side) for side in zip(*known, strict=True))
    if not base or not delta:
        return None
    return max(-1.0, min(1.0, (base + delta - tuned) / 2 / math.sqrt(base) / math.sqrt(delta)))


# What the trainer says ----------------------------------------------------------------------------


def said_lr_times_steps(state: TrainerState) -> float | None:
    """Σ lr over all steps, from the logged learning rates.

    These are joined by straight lines; the first and the last line go on to step 0 and to the last step,
    not below 0. None where the rate was logged at fewer than two steps.

    Examples
    --------
    >>> round(said_lr_times_steps(TrainerState(steps=100, rates=((10, 9e-4), (100, 0.0)))), 6)
    0.05
    """
    points = state.rates
    if len(points) < 2 or not all(0 <= rate < math.inf for _, rate in points):
        return None
    stop = float(max(state.steps or 0, points[-1][0]))
    start = (0.0, _extended(points[0], points[1], 0.0))
    end = (stop, _extended(points[-1], points[-2], stop))
    line = [start, *points, end]
    return math.fsum((b - a) * (x + y) / 2 for (a, x), (b, y) in pairwise(line))


def _extended(near: tuple[float, float], far: tuple[float, float], step: float) -> float:
    slope = (near[1] - far[1]) / (near[0] - far[0])
    return max(near[1] + slope * (step - near[0]), 0.0)


# The judgement ------------------------------------------------------------------------------------


def _judge(figures: _Figures, limits: Limits) -> Answer:
    for ask in (_nothing, _blown_up, _no_adam, _decayed, _impossible, _too_little, _doubtful):
        answer = ask(figures, limits)
        if answer is not None:
            return answer
    logged = "" if figures.said is None else f"; {figures.said:.2g} is logged"
    needed = f"{figures.peak:.2g}, takes Adam learning rate × steps of {figures.lr_steps:.2g} or more"
    return "healthy", (f"the largest change, {needed}{logged}",)


def _nothing(figures: _Figures, limits: Limits) -> Answer | None:
    if not figures.moved:
        if figures.unchecked:
            return "inconclusive", ("nothing that was checked moved, and not all was checked",)
        return "untrained", ("nothing outside the head moved by more than rounding",)
    if figures.peak is None:
        return "inconclusive", ("values of these types can't be subtracted",)
    return None


def _blown_up(figures: _Figures, limits: Limits) -> Answer | None:
    reasons = []
    if figures.nonfinite:
        reasons.append("values became NaN or infinite")
    if figures.peak and figures.peak > limits.most_max_abs_delta:
        reasons.append(f"max|Δ| {figures.peak:.2g}")
    if figures.typical is not None:
        delta, base = figures.typical
        if delta > max(limits.most_typical_delta, limits.most_typical_growth * base):
            reasons.append(f"what moved did so by {delta:.2g} in the mean square, from {base:.2g}")
    losses = [loss for _, loss in figures.log.losses]
    if losses and not math.isfinite(losses[-1]):
        reasons.append("the logged loss ended as NaN or infinite")
    elif (found := first_and_last(losses)) is not None and found[1] > limits.most_loss_growth * found[0] > 0:
        reasons.append(f"the logged loss went from {found[0]:.3g} to {found[1]:.3g}")
    return ("blown-up", tuple(reasons)) if reasons else None


def _no_adam(figures: _Figures, limits: Limits) -> Answer | None:
    if figures.unrelated:
        return "inconclusive", ("too little of the base is left for the change to tell steps",)
    lora = figures.verdict in ("merged-lora", "adapter")
    if lora and figures.peak is not None and figures.peak < limits.least_lora_change:
        return "under-trained", (
            f"max|Δ| {figures.peak:.2g}, where {limits.least_lora_change:.2g} is little",
        )
    if lora or figures.verdict == "incomparable":
        return "inconclusive", ("a product of factors, or too little to compare: its size tells no steps",)
    return None


def _decayed(figures: _Figures, limits: Limits) -> Answer | None:
    """Only where biases are what was trained: beside matrices that learned, they may decay as they like."""
    cosine = figures.decay_cosine
    if cosine is not None and cosine >= limits.decayed_cosine and figures.verdict in _BIASES_ONLY:
        return "decayed", (f"the biases shrank: cosine of Δ and −b is {cosine:.3f}",)
    return None


def _too_little(figures: _Figures, limits: Limits) -> Answer | None:
    few = figures.verdict in _BIASES_ONLY
    least = limits.least_bias_lr_steps if few else limits.least_full_lr_steps
    peak, said, reasons = figures.peak or 0.0, figures.said, []
    if peak < least:
        reasons.append(f"max|Δ| {peak:.2g}, where {least:.2g} is little")
    if said is not None and said < least:
        reasons.append(f"lr × steps {said:.2g} logged, where {least:.2g} is little")
    if said and peak < limits.least_share_of_said * said:
        reasons.append(f"max|Δ| {peak:.2g} in spite of lr × steps {said:.2g} logged")
    return ("under-trained", tuple(reasons)) if reasons else None


def _impossible(figures: _Figures, limits: Limits) -> Answer | None:
    said, peak = figures.said, figures.peak or 0.0
    if figures.log.steps == 0:
        return "impossible", ("with this log: it counts no step, and yet it moved",)
    if said is not None and peak > limits.most_share_of_said * said:
        return "impossible", (
            f"with this log: max|Δ| {peak:.2g}, further than Adam goes with the lr × steps {said:.2g} logged",
        )
    return None


def _doubtful(figures: _Figures, limits: Limits) -> Answer | None:
    return ("inconclusive", figures.doubts) if figures.doubts else None
