"""One run: a model trained on a fold's rest, or on all n, by `tune`'s own parts, and judged on the others."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.experiment.plan import BALANCED, Budget, Cell, Run, budget_of, folds_of, parts_of
from benchmarks.experiment.store import packed
from benchmarks.experiment.texts import CACHE, examples_of
from benchmarks.recommend.plan import MAX_LENGTH, folder_of
from benchmarks.recommend.training import fit_head, given_to_head, half, over
from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.data import TaskData
from bitfit_probe.inference import load_tokenizer, quietly
from bitfit_probe.tuning.build import Built, build
from bitfit_probe.tuning.encode import encode
from bitfit_probe.tuning.fingerprint import examples_sha256
from bitfit_probe.tuning.options import TuneOptions
from bitfit_probe.tuning.train import Task, make_trainer

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Judge = Callable[[], "Floats"]

__all__ = ["head_of", "perform"]

#: While training, the held-out examples are judged about so often; after every epoch where there are fewer.
_JUDGINGS = 25
#: With more classes, a final keeps the answer and the right class's log-probability alone.
_FEW_CLASSES = 10


class _Parts(NamedTuple):
    """Numbers of the examples that train and that judge, in the task's numbering."""

    train: list[int]
    judge: list[int]


class _Trained(NamedTuple):
    logits: Floats
    history: list[tuple[int, float, float]]
    steps: int
    trained: int
    judging: float


def head_of(tasks: Path, cell: Cell) -> dict[str, Any]:
    """The description of a cell: what its file begins with."""
    data = examples_of(tasks, cell.task)
    chosen, tested = parts_of(tasks, cell)
    assert data.labels is not None
    labels = {
        part: [data.labels[i] for i in numbers] for part, numbers in (("train", chosen), ("test", tested))
    }
    texts = [(data.texts[i], data.pairs[i] if data.pairs else "", data.labels[i]) for i in chosen + tested]
    return {
        "cell": list(cell),
        "classes": list(data.label_names),
        "examples": hashlib.sha256(json.dumps(texts).encode()).hexdigest(),
        "labels": labels,
        "folds": folds_of(labels["train"]),
        "balanced": cell.task in BALANCED,
    }


def perform(tasks: Path, device: str, run: Run, budget: Budget | None = None) -> dict[str, Any]:
    """Train, judge, and give the line of the run.

    Parameters
    ----------
    budget
        None for the plan's.
    """
    import torch
    import transformers

    torch.set_num_threads(1)  # one run a core
    start, cpu = time.monotonic(), time.process_time()
    data, parts = examples_of(tasks, run.cell.task), _parts_of(tasks, run)
    budget = budget or budget_of(run.cell.task, len(parts.train))
    with quietly():
        how = _train_head if run.method == "head" else _train
        trained = how(tasks, device, run, parts, budget)
    labels, counted = np.asarray(data.labels), len(data.label_names)
    return {
        "method": run.method,
        "rate": run.rate,
        "part": run.part,
        "seed": run.seed,
        **budget._asdict(),
        "steps": trained.steps,
        "trained": trained.trained,
        "train_counts": np.bincount(labels[parts.train], minlength=counted).tolist(),
        **_scores(trained.logits, labels[parts.judge], run),
        "history": [(epoch, *map(_number, values)) for epoch, *values in trained.history],
        "seconds": round(time.monotonic() - start, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "judging_seconds": round(trained.judging, 2),
        "device": device,
        "precision": "bf16" if device == "cuda" else "float32",
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def _parts_of(tasks: Path, run: Run) -> _Parts:
    chosen, tested = parts_of(tasks, run.cell)
    kind, _, number = run.part.partition("-")
    if kind == "final":
        return _Parts(chosen, tested)
    labels = examples_of(tasks, run.cell.task).labels
    assert labels is not None
    held_out = folds_of([labels[i] for i in chosen])[int(number)]
    rest = sorted(set(range(len(chosen))) - set(held_out))
    return _Parts([chosen[place] for place in rest], [chosen[place] for place in held_out])


def _settings(run: Run, budget: Budget) -> TuneOptions:
    method, _, rank = run.method.partition("-")
    return TuneOptions(
        method=method,  # type: ignore[arg-type]
        learning_rate=run.rate,
        epochs=budget.epochs,
        batch_size=budget.batch,
        max_length=MAX_LENGTH,
        eval_split=0.0,
        lora_r=int(rank or 8),
        seed=run.seed,
    )


def _context(device: str) -> Any:
    """Matrix products in bfloat16 on a GPU; processors without instructions for it are slower with it."""
    return half() if device == "cuda" else contextlib.nullcontext()


def _train(tasks: Path, device: str, run: Run, parts: _Parts, budget: Budget) -> _Trained:
    """Through `tune`'s model, settings and Trainer."""
    settings, folder = _settings(run, budget), folder_of(run.cell.model)
    data = examples_of(tasks, run.cell.task)
    labels = np.asarray(data.labels)[parts.judge]
    tokenizer = load_tokenizer(folder)
    train = data.take(parts.train)
    built = build(open_checkpoint(folder), train, "classify", settings)
    rows = [_encoded(tasks, run.cell.model, run.cell.task)[i] for i in parts.judge]

    def judge() -> Floats:
        return over(trainer.model, rows, tokenizer, lambda out: out.logits, partial(_context, device))

    watch = _Watch(judge, labels, budget.epochs, often=run.part.startswith("fold"))
    task = Task.of(train, None, "classify", tokenizer, settings, MAX_LENGTH)
    with tempfile.TemporaryDirectory() as scratch, _context(device):
        cpu = device == "cpu"
        callbacks = [_at_epochs(watch)]
        trainer = make_trainer(
            built, task, replace(settings, callbacks=callbacks, cpu=cpu), Path(scratch), keep=False
        )
        trainer.train()
    return _Trained(watch.final(), watch.history, trainer.state.global_step, built.trained, watch.seconds)


def _train_head(tasks: Path, device: str, run: Run, parts: _Parts, budget: Budget) -> _Trained:
    """The classifier on what the frozen body gives it, which is computed once (without dropout)."""
    import torch

    settings, folder = _settings(run, budget), folder_of(run.cell.model)
    data = examples_of(tasks, run.cell.task)
    labels = np.asarray(data.labels)
    built: Built = build(open_checkpoint(folder), data.take(parts.train), "classify", settings)
    given = _given(tasks, device, run.cell.model, run.cell.task)
    head = built.model.classifier

    @torch.no_grad()
    def judge() -> Floats:
        logits: Floats = head(torch.from_numpy(given[parts.judge])).double().numpy()
        return logits

    watch = _Watch(judge, labels[parts.judge], budget.epochs, often=run.part.startswith("fold"))
    steps = fit_head(head, given[parts.train], labels[parts.train], settings, watch.after_epoch)
    return _Trained(watch.final(), watch.history, steps, built.trained, watch.seconds)


class _Watch:
    """Judges the held-out examples while training, and all that are to be judged at the end."""

    def __init__(self, judge: Judge, labels: npt.NDArray[np.int64], epochs: int, *, often: bool) -> None:
        self._judge, self._labels, self._epochs, self._often = judge, labels, epochs, often
        self._last: Floats | None = None
        self.history: list[tuple[int, float, float]] = []
        self.seconds = 0.0

    def after_epoch(self, epoch: int) -> None:
        turn = epoch % math.ceil(self._epochs / _JUDGINGS) == 0 or epoch == self._epochs
        if not (self._often and turn):
            return
        start = time.monotonic()
        self._last = self._judge()
        self.seconds += time.monotonic() - start
        losses = -_log_p(self._last)[np.arange(len(self._labels)), self._labels]
        right = self._last.argmax(1) == self._labels
        self.history.append((epoch, float(losses.mean()), float(right.mean())))

    def final(self) -> Floats:
        """The logits of the trained model."""
        if self._last is None:
            start = time.monotonic()
            self._last = self._judge()
            self.seconds += time.monotonic() - start
        return self._last


def _at_epochs(watch: _Watch) -> Any:
    import transformers

    class AtEpochs(transformers.TrainerCallback):  # type: ignore[misc]
        def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            watch.after_epoch(round(state.epoch))

    return AtEpochs()


def _log_p(logits: Floats) -> Floats:
    from scipy.special import log_softmax

    return np.asarray(log_softmax(logits, 1))


def _scores(logits: Floats, labels: npt.NDArray[np.int64], run: Run) -> dict[str, Any]:
    """Score, loss and what is kept of each example."""
    log_p, said = _log_p(logits), logits.argmax(1)
    right = log_p[np.arange(len(labels)), labels]
    score = float((said == labels).mean())
    if run.cell.task in BALANCED:
        score = float(np.mean([(said[labels == k] == k).mean() for k in np.unique(labels)]))
    fine = bool(np.isfinite(logits).all())
    found: dict[str, Any] = {
        "score": _number(score if fine else math.nan),
        "loss": _number(float(-right.mean())),
        "classes_said": len(np.unique(said)),
    }
    if run.part.startswith("final") and logits.shape[1] > _FEW_CLASSES:
        return found | {
            "said": packed(said.astype(np.uint8)),
            "log_p_right": packed(right.astype(np.float16)),
        }
    return found | {"log_p": packed(log_p.astype(np.float16))}


def _number(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


@cache
def _given(tasks: Path, device: str, model: str, task: str) -> npt.NDArray[np.float32]:
    data = examples_of(tasks, task)
    kept = CACHE / f"head-{model}-{task}-{device}-{examples_sha256(data)[:12]}.npy"
    return given_to_head(folder_of(model), data, kept, partial(_context, device))


@cache
def _encoded(tasks: Path, model: str, task: str) -> list[dict[str, Any]]:
    data: TaskData = examples_of(tasks, task)
    return encode(data, load_tokenizer(folder_of(model)), "classify", MAX_LENGTH).rows
