"""One training run through transformers' Trainer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitfit_probe.data import TaskData
from bitfit_probe.tuning.build import Built
from bitfit_probe.tuning.encode import balanced_weights, collator, encode, metrics
from bitfit_probe.tuning.options import Objective, TuneOptions

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
        options: TuneOptions,
        max_length: int,
    ) -> Task:
        """Tokenise both parts, no text longer than `max_length`."""
        encoded = encode(train, tokenizer, objective, max_length)
        judged = encode(held_out, tokenizer, objective, max_length) if held_out else None
        weights = None
        if options.class_weights and objective == "classify" and train.labels:
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
    options: TuneOptions,
    checkpoints: Path,
    *,
    progress: Progress | None = None,
    keep: bool = True,
) -> Any:
    """The Trainer of a run: AdamW without decay, warm-up, linear decay, batches of like lengths.

    Parameters
    ----------
    options
        With a patience of None the last epoch is what is kept, whatever the held-out loss says.
    checkpoints
        Where it may save.
    progress
        Told of every step.
    keep
        Save a checkpoint an epoch and keep the best; without it the last weights count (a search's trials).
    """
    import transformers

    trainer = transformers.Trainer(
        model=built.model,
        args=_arguments(task, options, checkpoints, keep=keep),
        train_dataset=task.train,
        eval_dataset=task.held_out or None,
        data_collator=collator(task.tokenizer, task.objective),
        compute_metrics=metrics(task.objective),
        compute_loss_func=_weighted(task.weights) if task.weights else None,
        callbacks=list(options.callbacks),
    )
    trainer.remove_callback(transformers.PrinterCallback)
    if progress is not None:
        trainer.add_callback(_telling(progress))
    if options.patience and task.held_out and keep:
        trainer.add_callback(transformers.EarlyStoppingCallback(options.patience))
    return trainer


def _arguments(task: Task, options: TuneOptions, checkpoints: Path, *, keep: bool) -> Any:
    import torch
    import transformers

    an_epoch = math.ceil(len(task.train) / options.batch_size)
    epochs = options.passes(len(task.train))
    judged = keep and bool(task.held_out) and options.patience is not None
    cpu = options.cpu or not torch.cuda.is_available()
    return transformers.TrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=epochs,
        per_device_train_batch_size=options.batch_size,
        per_device_eval_batch_size=2 * options.batch_size,
        learning_rate=options.rate,
        weight_decay=0.0,
        warmup_steps=round(options.warmup_ratio * an_epoch * epochs),
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
        report_to=list(options.log_to) or "none",
        disable_tqdm=True,
        seed=options.seed,
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
