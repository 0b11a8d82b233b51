"""Reports made by hand: every section filled with figures of a known shape, without any checkpoint."""

from __future__ import annotations

import math
from dataclasses import replace

from bitfit_probe.records import (
    Check,
    CheckpointInfo,
    Comparison,
    Coverage,
    Diff,
    Evidence,
    Finding,
    NotChecked,
    RoleDelta,
    Summary,
    TensorDelta,
    TensorInfo,
)
from bitfit_probe.records.measures import (
    Adequacy,
    Group,
    Likeness,
    Ranked,
    Ranking,
    Revert,
    Reverting,
    Spectrum,
    Trajectory,
)
from bitfit_probe.records.report import Measured, Report

ROLES = ("q", "m2", "m3", "m1", "LN1", "v", "LN2", "k")


def size(role: str, layer: int) -> float:
    """A made-up mean|Δb|: smaller from role to role, rising with the layer."""
    return 0.6 * 0.7 ** ROLES.index(role) * (1 + layer / 20)


def role_delta(
    role: str, layer: int | None, stack: str | None = None, value: float | None = None
) -> RoleDelta:
    value = size(role, layer or 0) if value is None else value
    return RoleDelta(role, stack, layer, 1, int(value > 0), value, 3 * value, 0.5)


def tensor(
    name: str, role: str | None, layer: int | None, kind: str = "bias", value: float = 0.1
) -> TensorDelta:
    return TensorDelta(
        name,
        name,
        None,
        TensorInfo(role, layer, None, kind),  # type: ignore[arg-type]
        (8,),
        "F32",
        "F32",
        value == 0,
        "compared",
        mean_abs_delta=value,
        l1_delta=8 * value,
        l2_delta=value * math.sqrt(8),
        max_abs_delta=2 * value,
        relative_l2=value / (1 + value),
        mean_shift=value / 3,
        cosine=0.9,
        changed_fraction=float(value > 0),
        sign_flips=1,
        nonfinite_base=0,
        nonfinite_tuned=0,
        rounding_floor=1e-7,
        above_rounding=float(value > 0),
    )


def comparison(
    layers: int = 4, *, path: str = "runs/tuned", stacks: tuple[str | None, ...] = (None,), scale: float = 1.0
) -> Comparison:
    """A BitFit comparison of so many layers."""
    roles = [
        role_delta(role, layer, stack, scale * size(role, layer))
        for stack in stacks
        for role in ROLES
        for layer in range(layers)
    ]
    rows = [
        tensor(f"encoder.layer.{layer}.{role}.bias", role, layer, value=scale * size(role, layer))
        for role in ROLES
        for layer in range(layers)
    ]
    rows += [tensor(f"encoder.layer.{layer}.q.weight", "q", layer, "weight", 0.0) for layer in range(layers)]
    moved = len(ROLES) * layers
    return Comparison(
        tuned=CheckpointInfo(path, "safetensors", len(rows), 8 * len(rows), moved),
        verdict="bitfit",
        summary=Summary(
            changed_tensors=moved,
            compared_tensors=len(rows),
            changed_parameters=8 * moved,
            compared_parameters=8 * len(rows),
            bias_parameters=8 * moved,
            changed_bias_parameters=8 * moved,
            biases=moved,
            changed_biases=moved,
            relative_l2=0.02,
            head_changed=True,
            head="new",
            offenders=(),
            judged_by={"compared": len(rows), "checksum": 0, "not-checked": 0},
        ),
        tensors=tuple(rows),
        roles=(*roles, role_delta("q", None, None, 0.14)),
        unmatched_base=(),
        unmatched_tuned=(),
        coverage=Coverage(8 * len(rows), 8 * len(rows), 0, 1.0, True, 0, 0),
        key_bias_cancels=True,
    )


def ranking(by: str = "role", layers: int = 4) -> Ranking:
    rows = []
    for number, role in enumerate(ROLES):
        group = Group(
            role, None, None, tuple(f"encoder.layer.{i}.{role}.bias" for i in range(layers)), 32, role == "k"
        )
        value = size(role, 1)
        rows.append(
            Ranked(
                group,
                value,
                value / (1 + value),
                0.9 - 0.1 * ((number * 3) % 8),
                0.9,
                value / 3,
                1.0,
                fisher=1e-4 * (1 + (number * 5) % 8),
                tied=number == 4,
            )
        )
    return Ranking(by, tuple(rows))  # type: ignore[arg-type]


def reverting() -> Reverting:
    rows = []
    for number, row in enumerate(ranking().rows):
        change = (0.31, 0.22, 0.002, 0.05, -0.004, 0.11, 0.0, 0.0)[number]
        half = 0.01 + 0.2 * abs(change)
        rows.append(
            Revert(
                row.group,
                change,
                (change - half, change + half),
                -change / 4,
                (-change / 4 - 0.01, -change / 4 + 0.01),
                400,
                10 * abs(change),
                change + half < 0.02,
            )
        )
    return Reverting("role", 0.41, 0.86, 0.95, 0.02, tuple(sorted(rows, key=lambda row: -row.loss_change)))


def spectrum(role: str, layer: int, decay: float = 0.7, count: int = 64) -> Spectrum:
    values = tuple(2.0 * decay**index for index in range(count))
    total = sum(value**2 for value in values)
    energy = tuple((rank, sum(v**2 for v in values[:rank]) / total) for rank in (1, 2, 4, 8, 16, 32, 64))
    shares = [value / sum(values) for value in values]
    return Spectrum(
        f"encoder.layer.{layer}.{role}.weight",
        role,
        layer,
        (count, count),
        values,
        math.exp(-sum(p * math.log(p) for p in shares if p > 0)),
        total / 4.0,
        energy,
        2.0,
        11.0,
        0.05,
    )


def likeness(count: int = 4, *, names: tuple[str, ...] = ()) -> Likeness:
    """All alike, but the last."""
    names = names or tuple(f"runs/seed-{number}" for number in range(count))
    cosine = tuple(
        tuple(
            1.0 if i == j else 0.1 + 0.02 * abs(i - j) if count - 1 in (i, j) else 0.9 - 0.05 * abs(i - j)
            for j in range(count)
        )
        for i in range(count)
    )
    return Likeness(names, None, cosine, count - 1)


def trajectory() -> Trajectory:
    steps = (50, 100, 150, 200, 300, 400)
    norms = tuple(
        tuple(5 * size(role, 0) * (1 - math.exp(-step / (60 + 30 * number))) for step in steps)
        for number, role in enumerate(ROLES)
    )
    moves = tuple(
        tuple(norm - before for norm, before in zip(row, (0.0, *row[:-1]), strict=True)) for row in norms
    )
    return Trajectory(steps, ROLES, norms, moves, (300, None, None, 400, None, None, None, 100))


def check(path: str = "runs/tuned") -> Check:
    return Check(
        (
            Finding(
                "BP403",
                "head-untrained",
                "error",
                "The head's bias is exactly 0 and its weights have the spread of a fresh one (0.02).",
                ("classifier.weight", "classifier.bias"),
                (Evidence("weight_std", 0.0199, "", None, "classifier.weight"),),
                "Save the head with the model and load it back; don't deploy this.",
                tuned=path,
            ),
            Finding(
                "BP206",
                "best-is-not-last",
                "warning",
                "The best step was 300 of 400, and what is saved is the last.",
                ("trainer_state.json",),
                (Evidence("best_step", 300, "steps"), Evidence("last_step", 400, "steps")),
                "Load checkpoint-300 instead.",
                tuned=path,
            ),
        ),
        ("BP201", "BP202", "BP206", "BP403"),
        (NotChecked("BP306", "needs labelled examples: give --data"),),
    )


def adequacy() -> Adequacy:
    return Adequacy(2.31, 2.0, 2.4, "healthy", ("max|Δ| is 2.31; the schedule sums to 2.4",), -0.02)


def full_report(layers: int = 4) -> Report:
    """Every section filled."""
    one = comparison(layers)
    diff = Diff(CheckpointInfo("runs/base", "safetensors", 78, 1_371_906, 34), "bert", "config", (one,))
    measured = Measured(
        rankings=(ranking("role"), replace(ranking(), by="role-layer")),
        adequacy=adequacy(),
        spectra=tuple(
            spectrum(role, layer, 0.6 + 0.05 * layer) for role in ("q", "m2") for layer in range(3)
        ),
        reverting=reverting(),
    )
    return Report(
        diff,
        (measured,),
        check(),
        (likeness(),),
        trajectory(),
        (Evidence("proxy_a_distance", 1.2, "", (1.1, 1.3), "text", "domain classifier", "far"),),
        (("runs/base/model.safetensors", "ab" * 32),),
        "1.2.3",
    )
