"""One training run through transformers' Trainer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitfit_probe.data import TaskData
from bitfit_probe.tuning.build import Built
from bitfit_probe.tuning.encode import balanced_weights, collator, encode, metrics
from bitfit_probe.tuning.settings import Objective, Settings

__all__ = ["Progress", "Task", "make_trainer"]

#: Called with the steps done and the steps to do.
Progress = Callable[[int, int], None]

#: Losses are logged this often an epoch.
_LOGS_PER_EPOCH = 4


@dataclass(frozen=True)
class Task:
    """Tokenised data of a run."""

    objective: Objective
    tokenizer: Any
    train: list[dict[str, Any]]
    held_out: list[dict[str, Any]]
    weights: list[float] | None
    max_length: int
    cut: int

    @classmethod
    def of(
        cls,
        train: TaskData,
        held_out: TaskData | None,
        objective: Objective,
        tokenizer: Any,
        settings: Settings,
        max_length: int,
    ) -> Task:
        """Tokenise both parts, no text longer than `max_length`."""
        encoded = encode(train, tokenizer, objective, max_length)
        judged = encode(held_out, tokenizer, objective, max_length) if held_out else None
        weights = None
        if settings.class_weights and objective == "classify" and train.labels:
            weights = balanced_weights(train.labels, len(train.label_names))
        return cls(
            objective,
            tokenizer,
            encoded.rows,
            judged.rows if judged else [],
            weights,
            max_length,
            encoded.cut + (judged.cut if judged else 0),
        )


def make_trainer(
    built: Built,
    task: Task,
    settings: Settings,
    checkpoints: Path,
    *,
    callbacks: Sequence[Any] = (),
    report_to: Sequence[str] = (),
    progress: Progress | None = None,
    cpu: bool = False,
    keep: bool = True,
) -> Any:
    """The Trainer of a run: AdamW without decay, warm-up, linear decay, batches of like lengths.

    Parameters
    ----------
    settings
        With a patience of None the last epoch is what is kept, whatever the held-out loss says.
    checkpoints
        Where it may save.
    callbacks, report_to
        Handed to Trainer.
    progress
        Told of every step.
    keep
        Save a checkpoint an epoch and keep the best; without it the last weights count (a search's trials).
    """
    import transformers

    trainer = transformers.Trainer(
        model=built.model,
        args=_arguments(task, settings, checkpoints, report_to, cpu, keep),
        train_dataset=task.train,
        eval_dataset=task.held_out or None,
        data_collator=collator(task.tokenizer, task.objective),
        compute_metrics=metrics(task.objective),
        compute_loss_func=_weighted(task.weights) if task.weights else None,
        callbacks=list(callbacks),
    )
    trainer.remove_callback(transformers.PrinterCallback)
    if progress is not None:
        trainer.add_callback(_telling(progress))
    if settings.patience and task.held_out and keep:
        trainer.add_callback(transformers.EarlyStoppingCallback(settings.patience))
    return trainer


def _arguments(
    task: Task, settings: Settings, checkpoints: Path, report_to: Sequence[str], cpu: bool, keep: bool
) -> Any:
    import torch
    import transformers

    an_epoch = math.ceil(len(task.train) / settings.batch_size)
    epochs = settings.passes(len(task.train))
    judged = keep and bool(task.held_out) and settings.patience is not None
    cpu = cpu or not torch.cuda.is_available()
    return transformers.TrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=epochs,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=2 * settings.batch_size,
        learning_rate=settings.rate,
        weight_decay=0.0,
        warmup_steps=round(settings.warmup_ratio * an_epoch * epochs),
        lr_scheduler_type="linear",
        train_sampling_strategy="group_by_length",
        eval_strategy="epoch" if task.held_out else "no",
        logging_strategy="steps",
        logging_steps=max(1, an_epoch // _LOGS_PER_EPOCH),
        logging_nan_inf_filter=False,  # a loss that is no number is news
        save_strategy="epoch" if keep else "no",
        save_total_limit=1,
        load_best_model_at_end=judged,
        metric_for_best_model="loss" if judged else None,
        greater_is_better=False if judged else None,
        report_to=list(report_to) or "none",
        disable_tqdm=True,
        seed=settings.seed,
        use_cpu=cpu,
        dataloader_pin_memory=not cpu,
    )


def _weighted(weights: list[float]) -> Any:
    """Cross-entropy in which every class has its weight, averaged over the weights (as torch does)."""
    import torch

    def loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
        logits = outputs["logits"].float()
        return torch.nn.functional.cross_entropy(logits, labels, logits.new_tensor(weights))

    return loss


def _telling(progress: Progress) -> Any:
    import transformers

    class Telling(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            progress(state.global_step, state.max_steps)

    return Telling()
