"""One run: a model trained on a cell's examples by `tune`'s own parts, and judged on all the others."""

from __future__ import annotations

import base64
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.recommend.plan import (
    MAX_LENGTH,
    RANK,
    Cell,
    Run,
    budget_of,
    examples_of,
    folder_of,
    split,
)
from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.data import TaskData
from bitfit_probe.inference import load_tokenizer, quietly
from bitfit_probe.tuning.build import Built, build
from bitfit_probe.tuning.encode import encode
from bitfit_probe.tuning.options import TuneOptions
from bitfit_probe.tuning.train import Task, make_trainer

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["FIELDS", "fit_head", "given_to_head", "half", "over", "perform"]

FIELDS = (
    *("model", "task", "size", "seed", "method", "rate", "epochs"),
    *("accuracy", "loss", "majority", "tested", "steps", "trained", "seconds", "test_seconds"),
    *("precision", "torch", "transformers", "correct"),
)
#: Tokens a batch of texts to be judged.
_TOKENS = 2_048


@dataclass(frozen=True)
class _Judged:
    """What came out for each test example: whether it was right, and −log p of the right class."""

    right: npt.NDArray[np.bool_]
    losses: npt.NDArray[np.float64]

    @classmethod
    def of(cls, logits: npt.NDArray[np.float64], labels: npt.NDArray[np.int64]) -> _Judged:
        shifted = logits - logits.max(1, keepdims=True)
        logs = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
        return cls(logits.argmax(1) == labels, -logs[np.arange(len(labels)), labels])


def perform(tasks: Path, run: Run) -> dict[str, Any]:
    """Train, test, and give the row of the table."""
    import torch
    import transformers

    torch.set_num_threads(1)  # one run a core
    chosen, others = split(tasks, run.cell)
    data = examples_of(tasks, run.cell.task)
    train, test = data.take(chosen), data.take(others)
    start = time.monotonic()
    with quietly():
        how = _train_head if run.method == "head" else _train
        judged, steps, trained, tested = how(tasks, run, train, test)
    labels = np.asarray(test.labels)
    guess = np.bincount(np.asarray(train.labels)).argmax()
    return {
        **run.cell._asdict(),
        "method": run.method,
        "rate": run.rate,
        "epochs": run.epochs,
        "accuracy": f"{judged.right.mean():.5f}",
        "loss": f"{judged.losses.mean():.5f}",
        "majority": f"{np.mean(labels == guess):.5f}",
        "tested": len(test),
        "steps": steps,
        "trained": trained,
        "seconds": f"{time.monotonic() - start:.1f}",
        "test_seconds": f"{tested:.1f}",
        "precision": "bf16",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "correct": base64.b64encode(np.packbits(judged.right).tobytes()).decode(),
    }


def _settings(run: Run) -> TuneOptions:
    return TuneOptions(
        method=run.method,  # type: ignore[arg-type]
        learning_rate=run.rate,
        epochs=run.epochs,
        batch_size=budget_of(run.cell).batch,
        max_length=MAX_LENGTH,
        eval_split=0.0,
        lora_r=RANK,
        seed=run.cell.seed,
    )


def _train(tasks: Path, run: Run, train: TaskData, test: TaskData) -> tuple[_Judged, int, int, float]:
    """Through `tune`'s model, settings and Trainer; matrix products in bfloat16, parameters in float32."""
    settings = _settings(run)
    folder = folder_of(run.cell.model)
    tokenizer = load_tokenizer(folder)
    built = build(open_checkpoint(folder), train, "classify", settings)
    task = Task.of(train, None, "classify", tokenizer, settings, MAX_LENGTH)
    with tempfile.TemporaryDirectory() as scratch, half():
        trainer = make_trainer(built, task, settings, Path(scratch), keep=False)
        trainer.train()
    start = time.monotonic()
    logits = over(trainer.model, _rows(tasks, run.cell, tokenizer, test), tokenizer, lambda out: out.logits)
    judged = _Judged.of(logits, np.asarray(test.labels))
    return judged, trainer.state.global_step, built.trained, time.monotonic() - start


def _train_head(tasks: Path, run: Run, train: TaskData, test: TaskData) -> tuple[_Judged, int, int, float]:
    """The classifier on what the frozen body gives it, which is computed once (without dropout)."""
    import torch

    settings = _settings(run)
    built = build(open_checkpoint(folder_of(run.cell.model)), train, "classify", settings)
    chosen, others = split(tasks, run.cell)
    given = _given(tasks, run.cell.model, run.cell.task)
    head = built.model.classifier
    steps = fit_head(head, given[chosen], np.asarray(train.labels), settings)
    with torch.no_grad():
        logits = head(torch.from_numpy(given[others])).double().numpy()
    return _Judged.of(logits, np.asarray(test.labels)), steps, built.trained, 0.0


def fit_head(
    head: Any,
    given: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    settings: TuneOptions,
    after_epoch: Callable[[int], None] | None = None,
) -> int:
    """Train a linear classifier on what it is given; the steps that it took.

    Parameters
    ----------
    after_epoch
        Called with the number of epochs done.
    """
    import torch

    inputs, right = torch.from_numpy(given), torch.from_numpy(labels)
    optimiser = torch.optim.AdamW(head.parameters(), settings.rate, weight_decay=0.0)
    epochs = settings.passes(len(right))
    steps = epochs * -(-len(right) // settings.batch)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, steps)
    shuffle = torch.Generator().manual_seed(settings.seed)
    for epoch in range(1, epochs + 1):
        for batch in torch.randperm(len(right), generator=shuffle).split(settings.batch):
            torch.nn.functional.cross_entropy(head(inputs[batch]), right[batch]).backward()
            optimiser.step()
            optimiser.zero_grad()
            schedule.step()
        if after_epoch is not None:
            after_epoch(epoch)
    return steps


@cache
def _given(tasks: Path, model: str, task: str) -> npt.NDArray[np.float32]:
    from benchmarks.distances import CACHE

    return given_to_head(folder_of(model), examples_of(tasks, task), CACHE / f"head-{model}-{task}.npy")


def given_to_head(
    folder: Path, data: TaskData, kept: Path, context: Callable[[], Any] | None = None
) -> npt.NDArray[np.float32]:
    """What the frozen body hands to the classifier for every example, kept on disk."""
    if not kept.exists():
        tokenizer = load_tokenizer(folder)
        built: Built = build(open_checkpoint(folder), data, "classify", TuneOptions(method="head"))
        seen: list[Any] = []
        built.model.classifier.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
        rows = encode(data, tokenizer, "classify", MAX_LENGTH).rows
        found = over(built.model, rows, tokenizer, lambda _: seen.pop(), context)
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=kept.parent, delete=False) as stream:
            np.save(stream, found.astype(np.float32))
        Path(stream.name).replace(kept)
    return np.asarray(np.load(kept))


@cache
def _encoded(tasks: Path, model: str, task: str) -> list[dict[str, Any]]:
    return encode(examples_of(tasks, task), load_tokenizer(folder_of(model)), "classify", MAX_LENGTH).rows


def _rows(tasks: Path, cell: Cell, tokenizer: Any, test: TaskData) -> list[dict[str, Any]]:
    everything = _encoded(tasks, cell.model, cell.task)
    return [everything[number] for number in split(tasks, cell)[1]]


def over(
    model: Any,
    rows: list[dict[str, Any]],
    tokenizer: Any,
    what: Callable[[Any], Any],
    context: Callable[[], Any] | None = None,
) -> npt.NDArray[np.float64]:
    """`what` of the model's answers to all rows, batches of like lengths, in the rows' order.

    Parameters
    ----------
    context
        Gives what the model is run in; None for `half`.
    """
    import torch

    model.eval()
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]["input_ids"]))
    found: dict[int, Any] = {}
    with torch.inference_mode(), (context or half)():
        while order:
            batch = order[-max(1, _TOKENS // len(rows[order[-1]]["input_ids"])) :]
            del order[-len(batch) :]
            given = [{k: v for k, v in rows[i].items() if k != "labels"} for i in batch]
            answer = what(model(**tokenizer.pad(given, return_tensors="pt").to(model.device)))
            found.update(zip(batch, answer.double().cpu().numpy(), strict=True))
    return np.stack([found[i] for i in range(len(rows))])


def half() -> Any:
    """Matrix products in bfloat16; without the cache, which would keep the first step's parameters."""
    import torch

    return torch.autocast("cuda" if torch.cuda.is_available() else "cpu", torch.bfloat16, cache_enabled=False)
