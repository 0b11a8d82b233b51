"""The model of a run: the base with the head that the task needs, and only what is trained trainable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.data import TaskData
from bitfit_probe.errors import DataError, ModelError
from bitfit_probe.inference import Purpose, load_model
from bitfit_probe.inference.purpose import purpose_of
from bitfit_probe.tuning.master_weights import cast_at_use, master_of
from bitfit_probe.tuning.options import Objective, TuneOptions
from bitfit_probe.tuning.trainable import Chosen, choose, lora_targets, only

__all__ = ["Built", "build", "objective_for"]


@dataclass(frozen=True)
class Built:
    """A model ready to be trained, and what of it is."""

    model: Any
    chosen: Chosen
    trained: int
    total: int
    by_role: dict[str, int]


def objective_for(data: TaskData, base: Checkpoint, tokenizer: Any, asked: Objective | None) -> Objective:
    """What to train for: labels, or else the kind of language model that the base is.

    Raises
    ------
    DataError
        Labels were asked for, and there are none, or only one class.
    """
    if asked in ("classify", "regress") and data.task == "unlabelled":
        raise DataError("has no label column", advice="name it with --label", path=data.path or None)
    if asked == "regress" and data.task == "classification":
        raise DataError(
            "its labels are classes, not quantities",
            advice="use --objective classify",
            path=data.path or None,
        )
    if asked in (None, "classify") and data.task == "classification":
        if len(data.label_names) < 2:
            raise DataError("has one class only", advice="give examples of two", path=data.path or None)
        return "classify"
    if asked == "classify":
        raise DataError(
            "its labels are quantities, not classes", advice="use --objective regress", path=data.path or None
        )
    if asked is not None:
        return asked
    if data.task == "regression":
        return "regress"
    if purpose_of(base.config) == "causal-lm":
        return "causal-lm"
    return "masked-lm" if tokenizer.mask_token is not None else "causal-lm"


def build(base: Checkpoint, data: TaskData, objective: Objective, options: TuneOptions) -> Built:
    """Load the base for the objective, and make trainable what the method trains.

    Raises
    ------
    BitfitProbeError
        The model can't be loaded, or has nothing that the method could train.
    """
    import transformers

    transformers.set_seed(options.seed)
    loaded = load_model(
        base, purpose=_purpose(objective), dtype=options.dtype, new_head=True, **_head(data, objective)
    )
    model = loaded.model
    chosen = choose(model, options, loaded.missing)
    lost = [name for name in loaded.reshaped if chosen.architecture.info(name, 2).kind != "head"]
    if lost:
        raise ModelError(
            f"{lost[0]} has another shape than config.json says",
            advice="check that config.json belongs to these weights",
            path=base.path,
        )
    if options.method == "lora":
        model = _adapted(model, chosen, options, str(base.folder))
    else:
        names = set(chosen.names)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in names)
    by_role = _count_by_role(model, chosen)
    cast_at_use(model)
    for name, ranges in chosen.parts.items():
        parameter = master_of(model, name)
        parameter.register_hook(only(parameter, ranges))
    total = sum(parameter.numel() for parameter in model.parameters())
    return Built(model, chosen, sum(by_role.values()), total, by_role)


def _purpose(objective: Objective) -> Purpose:
    return "classify" if objective in ("classify", "regress") else objective  # type: ignore[return-value]


def _head(data: TaskData, objective: Objective) -> dict[str, Any]:
    if objective == "regress":
        return {"num_labels": 1, "problem_type": "regression"}
    if objective != "classify":
        return {}
    names = dict(enumerate(data.label_names))
    return {
        "num_labels": len(names),
        "id2label": names,
        "label2id": {name: number for number, name in names.items()},
        "problem_type": "single_label_classification",
    }


def _adapted(model: Any, chosen: Chosen, options: TuneOptions, base: str) -> Any:
    """The model with LoRA beside every linear layer of the body; a new head is trained whole."""
    import peft
    from transformers.pytorch_utils import Conv1D

    targets, whole = lora_targets(model, chosen, options.roles)
    model.name_or_path = (
        base  # peft looks there for the vocabulary's size, and on the Hub if it finds nothing
    )
    config = peft.LoraConfig(
        r=options.lora_r,
        lora_alpha=options.lora_alpha or 2 * options.lora_r,
        target_modules=targets,
        modules_to_save=whole or None,
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
    )
    return peft.get_peft_model(model, config)


def _count_by_role(model: Any, chosen: Chosen) -> dict[str, int]:
    """Elements that are trained, by role; parts of fused biases count for themselves."""
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        for role, count in chosen.roles_of(name, tuple(parameter.shape)).items():
            counts[role] = counts.get(role, 0) + count
    return counts
