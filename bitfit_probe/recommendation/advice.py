"""How to do what is advised: rates, roles, rank and modules, a command, and the same in Python."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from typing import cast

from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.data import TaskData
from bitfit_probe.recommendation.known import Known
from bitfit_probe.recommendation.parameter_count import TaskModel, task_model
from bitfit_probe.recommendation.snippet import Names, snippet
from bitfit_probe.records import Check
from bitfit_probe.records.distance import Distance, Reach
from bitfit_probe.records.recommendation import Advice, LoraAdvice
from bitfit_probe.tuning.options import Method, TuneOptions
from bitfit_probe.tuning.trainable import short_names

__all__ = ["RANK", "RATES", "advise"]

#: Lowest and highest peak rate to try; `bitfit_probe.tuning.options.LEARNING_RATES` lie inside.
#:
#: - bitfit: published runs lie between 1e-4 and 1e-2, most of them at 5e-4 and above (Ben Zaken et al. 2022
#:   searched 1e-4 … 1e-3 on BERT); in short runs of small models the upper half was the better one.
#: - lora: ten times the rates of full fine-tuning, 1e-4 … 5e-4 as in Hu et al. 2022 (appendix D).
#: - full: Devlin et al. 2019 (appendix A.3) 2e-5 … 5e-5, Ben Zaken et al. 2022 1e-5 … 5e-5.
#:
#: The upper ends of the last two are those that were best in this project's short runs of small models
#: (benchmarks/results/runs.csv).
RATES: Mapping[str, tuple[float, float]] = {
    "bitfit": (5e-4, 1e-2),
    "lora": (1e-4, 2e-3),
    "full": (1e-5, 1.5e-4),
}
#: LoRA's rank where nothing tells it: peft's default, and enough for GLUE in Hu et al. 2022 (table 6 shows
#: little above r = 4).
RANK = TuneOptions.lora_r
#: The most that is advised, a convention: beyond it LoRA's few parameters are no longer few.
_MOST_RANK = 64
#: Roles are named that carry this share of the bias kernel's trace together. A convention.
_CARRIED = 0.9
#: Unless it takes more than this share of all roles, where leaving out the rest gains nothing. A convention.
_MOST_ROLES = 0.75
#: What stands for the file where the examples came from memory.
_EXAMPLES = "EXAMPLES.csv"
#: The finding that says of a tuned checkpoint what full fine-tuning puts at risk.
_FORGOT = "BP602"


def advise(
    method: str,
    checkpoint: Checkpoint,
    data: TaskData,
    distance: Distance,
    *,
    known: Known | None = None,
    rate: float | None = None,
) -> Advice:
    """How to train a model for a task by one method.

    Parameters
    ----------
    method
        The method that is advised, or to begin with: ``bitfit``, ``lora`` or ``full``.
    checkpoint
        The base.
    data
        The examples, with the columns that were read.
    distance
        What was measured of the task; the user's names of model and data come from it.
    known
        Findings about checkpoints tuned from the base, and the rank of their change.
    rate
        The best peak rate of a trial, which the command then takes; without it the command searches.
    """
    known = known or Known()
    model = task_model(checkpoint, len(data.label_names))
    lora = _lora(model, distance.reach, known.effective_rank) if method == "lora" else None
    rank = lora.rank if lora else RANK
    # What a trial has judged already is trained on all examples.
    share = TuneOptions.eval_split if rate is None else 0.0
    options = TuneOptions(method=cast("Method", method), learning_rate=rate, lora_r=rank, eval_split=share)
    names = Names(distance.model, distance.data or _EXAMPLES, f"tuned-{method}")
    return Advice(
        method=method,
        learning_rate=RATES[method],
        command=_command(options, data, names),
        snippet=snippet(options, model, data, names, lora),
        roles=_roles(distance.reach) if method == "bitfit" else (),
        lora=lora,
        warnings=_warnings(method, model, known.check),
    )


# LoRA ---------------------------------------------------------------------------------------------


def _lora(model: TaskModel, reach: Reach | None, effective_rank: float | None) -> LoraAdvice:
    rank, why = _rank(reach, effective_rank)
    adapted = "all linear layers of the body are adapted, since nothing measured tells them apart"
    return LoraAdvice(rank, _targets(model), f"{why}; {adapted}.")


def _rank(reach: Reach | None, effective_rank: float | None) -> tuple[int, str]:
    """A rank, and where it comes from; what training did goes before what a forecast says it could do."""
    if effective_rank is not None and math.isfinite(effective_rank):
        rank = 2 ** math.ceil(math.log2(max(effective_rank, 1.0)))
        found = f"the change of the tuned checkpoint's matrices has an effective rank of {effective_rank:.3g}"
        if rank > _MOST_RANK:
            return _MOST_RANK, f"{found}, and {_MOST_RANK} is the most that is advised (a convention)"
        return rank, f"{found}, and rank {rank} is the power of two that holds it"
    if reach is not None and reach.smallest_rank is not None:
        enough = reach.smallest_rank
        found = f"rank {enough} is the smallest that is forecast within a point of the best rank"
        if enough < RANK:  # forecasts have been held against runs of rank 8 only
            return RANK, f"{found}, and {RANK} is the least that was tried"
        return enough, found
    return RANK, f"rank {RANK} is the usual default, since nothing measured tells another"


def _targets(model: TaskModel) -> tuple[str, ...]:
    """Every linear layer of the body, as `tune` adapts them, in names that fit any prefix."""
    names = [item.name.removesuffix(".weight") for item in model.linear]
    return tuple(short_names(names, names))


# BitFit -------------------------------------------------------------------------------------------


def _roles(reach: Reach | None) -> tuple[str, ...]:
    """The fewest roles that carry most of the bias kernel; none where nearly all of them do."""
    if reach is None or not reach.roles:
        return ()
    total, chosen = 0.0, []
    for role, share in sorted(reach.roles, key=lambda item: -item[1]):
        if total >= _CARRIED or math.isclose(total, _CARRIED):
            break
        chosen.append(role)
        total += share
    nearly_all = len(chosen) > _MOST_ROLES * len(reach.roles)
    # "other" gathers what has no role, which no option can name.
    return () if nearly_all or "other" in chosen else tuple(chosen)


# All methods --------------------------------------------------------------------------------------


def _warnings(method: str, model: TaskModel, check: Check | None) -> tuple[str, ...]:
    return (*_unknown_head(model), *(_forgetting(check) if method == "full" else ()))


def _unknown_head(model: TaskModel) -> tuple[str, ...]:
    if model.architecture.classifier is not None:
        return ()
    return (
        "What transformers puts on this architecture to classify texts is not known here: its head is "
        "counted as one linear layer.",
    )


def _forgetting(check: Check | None) -> tuple[str, ...]:
    forgot = [item for item in (check.findings if check else ()) if item.code == _FORGOT]
    seen = f" A tuned checkpoint already shows it ({_FORGOT})." if forgot else ""
    return (
        "Full fine-tuning moves every weight, so that what pretraining put there can be lost (forgetting): "
        "keep the rate low and the epochs few, and look with bitfit-probe check --data afterwards." + seen,
    )


def _command(options: TuneOptions, data: TaskData, names: Names) -> str:
    """``bitfit-probe tune`` with the user's own paths and columns, quoted for a shell."""
    columns, model = data.columns, names.base
    # What begins with a dash would be taken for an option.
    words = [
        "bitfit-probe",
        "tune",
        f"./{model}" if model.startswith("-") else model,
        "--data",
        names.examples,
    ]
    for option, column in (("--text", columns.text), ("--pair", columns.pair), ("--label", columns.label)):
        words += [option, column] if column is not None else []
    words += ["--method", options.method]
    if options.method == "lora":
        words += ["--lora-r", str(options.lora_r)]
    rate = options.learning_rate
    words += ["--search"] if rate is None else ["--learning-rate", f"{rate:g}", "--eval-split", "0"]
    return shlex.join([*words, "--out", names.out])
