"""Small runs, trained by a plain loop and then made to disappoint."""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.materials import DEFAULT, MINILM
from benchmarks.needle.causes import Cause
from benchmarks.needle.plan import Run, examples
from bitfit_probe import sample
from bitfit_probe.data import TaskData
from bitfit_probe.inference import load_model, load_tokenizer, quietly

__all__ = ["Prepared", "base_of", "lora_run", "made"]

_CACHE = DEFAULT.parent / "needle"
#: Where the models come from, and how many of their layers are kept.
_SOURCES = {"sample-2": (sample.base_path(), 2), "minilm-1": (DEFAULT / MINILM, 1)}
_STEPS, _BATCH, _LENGTH = 100, 16, 24
#: When the early checkpoint is saved, as a share of the steps.
_EARLY = 0.08
_RATES = {"bitfit": {"sample-2": 1e-2, "minilm-1": 5e-3}, "full": {"sample-2": 5e-4, "minilm-1": 2e-4}}
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json")


@dataclass(frozen=True)
class Prepared:
    """A run that disappoints, with what it is diagnosed and judged by."""

    base: Path
    tuned: Path
    given: TaskData
    judged: TaskData


@cache
def base_of(model: str) -> Path:
    """The first layers of the sample's base, or of MiniLM."""
    source, layers = _SOURCES[model]
    folder = _CACHE / model
    if not (folder / "config.json").is_file():
        with quietly():
            whole = load_model(source, purpose="features").model
            whole.encoder.layer = whole.encoder.layer[:layers]
            whole.config.num_hidden_layers = layers
            whole.save_pretrained(folder)
        _copy_tokenizer(source, folder)
    return folder


@contextlib.contextmanager
def made(run: Run, tasks: Path) -> Iterator[Prepared]:
    """A run in a folder that is there meanwhile; what causes have in common is trained once."""
    train, given, judged = examples(tasks, run.task)
    base = base_of(run.model)
    with tempfile.TemporaryDirectory() as name:
        tuned = Path(name) / "tuned"
        shutil.copytree(_trained(run, base, train), tuned)
        early = next(tuned.glob("checkpoint-*"))
        if run.how.files is not None:
            run.how.files(tuned, base)
        if run.cause != "wrong checkpoint":
            shutil.rmtree(early)
        yield Prepared(base, tuned, given, judged)


def _trained(run: Run, base: Path, data: TaskData) -> Path:
    """The folder of a run's training, made where it is not there."""
    settings = {name: value for name, value in vars(run.how).items() if name not in ("files", "sound")}
    name = "-".join(map(str, (run.model, run.task, *settings.values())))
    folder = _CACHE / "trained" / name
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            _train(run, base, data, Path(scratch) / "run")
            with contextlib.suppress(OSError):  # another part of the benchmark was faster
                (Path(scratch) / "run").replace(folder)
    return folder


def _train(run: Run, base: Path, data: TaskData, out: Path) -> None:
    import torch

    torch.manual_seed(0)
    cause, steps = run.how, max(int(_STEPS * run.how.steps), 1)
    names = dict(enumerate(data.label_names))
    model = load_model(
        base, num_labels=len(names), id2label=names, label2id={name: at for at, name in names.items()}
    ).model
    trained = _trainable(model, cause)
    optimizer = torch.optim.AdamW(trained, lr=_RATES[cause.method][run.model] * cause.rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / 10, (steps - step) / steps)
    )
    batches = _batches(base, data.take(range(cause.examples)), shuffled=cause.shuffled)
    model.train()
    for step in range(steps):
        if step == int(steps * _EARLY):
            _save(model, base, out / f"checkpoint-{step}")
        loss = model(**next(batches)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    _save(model, base, out)


def _trainable(model: Any, cause: Cause) -> list[Any]:
    """The head and the biases, or everything; the upper layers rest where they were frozen by accident."""
    resting = (
        [f"layer.{at}." for at in range(model.config.num_hidden_layers // 2, 99)] if cause.frozen else []
    )
    for name, parameter in model.named_parameters():
        chosen = cause.method == "full" or name.endswith("bias") or name.startswith("classifier")
        parameter.requires_grad = chosen and not any(part in name for part in resting)
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _batches(base: Path, data: TaskData, *, shuffled: bool) -> Iterator[dict[str, Any]]:
    """Batches without end, in another order each time."""
    import torch

    tokenizer = load_tokenizer(base)
    labels = torch.tensor(data.labels)
    if shuffled:
        labels = labels[torch.randperm(len(labels))]
    while True:
        for rows in torch.randperm(len(data)).split(_BATCH):
            texts = [data.texts[int(row)] for row in rows]
            coded = tokenizer(texts, padding=True, truncation=True, max_length=_LENGTH, return_tensors="pt")
            yield {**coded, "labels": labels[rows]}


def _copy_tokenizer(source: Path, folder: Path) -> None:
    for name in _TOKENIZER:
        if (source / name).is_file():
            shutil.copy(source / name, folder / name)


def _save(model: Any, base: Path, out: Path) -> None:
    with quietly():
        model.save_pretrained(out)
    _copy_tokenizer(base, out)
    settings = json.loads((out / "tokenizer_config.json").read_text("utf-8"))
    (out / "tokenizer_config.json").write_text(json.dumps({**settings, "model_max_length": 64}), "utf-8")


def lora_run(model: str, tasks: Path, task: str, given: int) -> float:
    """Accuracy on the judged examples of LoRA that is trained on the given ones, from the base."""
    import bitfit_probe as bp
    from bitfit_probe.inference import LiveModel
    from bitfit_probe.measures.scoring import score

    _, offered, judged = examples(tasks, task)
    options = bp.TuneOptions(
        method="lora",
        merge=True,
        eval_split=0.0,
        epochs=max(1, 150 * _BATCH // given),
        learning_rate=2e-3,
        cpu=True,
    )
    few: TaskData = offered.take(range(given))
    with tempfile.TemporaryDirectory() as name:
        made = bp.tune(base_of(model), few, out=Path(name) / "lora", options=options)
        live = LiveModel.of(bp.open_checkpoint(made.path))
        return sum(score(live, judged)) / len(judged)
