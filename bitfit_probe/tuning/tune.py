"""Fine-tune a base on labelled or plain text, by biases only or otherwise, and leave a record of it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bitfit_probe.checkpoint import Checkpoint, open_checkpoint
from bitfit_probe.checkpoint.interface import read_json
from bitfit_probe.checkpoint.trainer_state import TRAINER_STATE
from bitfit_probe.data import Columns, TaskData, read_examples
from bitfit_probe.errors import ModelError
from bitfit_probe.inference import longest_text, padding_tokenizer, quietly, running
from bitfit_probe.tuning.build import Built, build, objective_for
from bitfit_probe.tuning.callback import BitFitProbeCallback
from bitfit_probe.tuning.card import make_card
from bitfit_probe.tuning.encode import split
from bitfit_probe.tuning.fingerprint import digest_of, examples_sha256, file_sha256
from bitfit_probe.tuning.master_weights import settle
from bitfit_probe.tuning.run_dir import CARD, Workplace
from bitfit_probe.tuning.search import search_rate
from bitfit_probe.tuning.settings import Method, Settings
from bitfit_probe.tuning.train import Progress, Task, make_trainer
from bitfit_probe.tuning.watch import Sign, SignKind

__all__ = ["Tuned", "tune"]


@dataclass(frozen=True)
class Tuned:
    """A finished run.

    Attributes
    ----------
    path
        The directory with the model (or the adapter), the tokenizer, trainer_state.json and run_card.json.
    card
        The run card.
    """

    path: Path
    card: dict[str, Any]

    @property
    def result(self) -> dict[str, float]:
        """The held-out figures of the weights that were kept; empty where nothing was held out."""
        return dict(self.card["result"])


def tune(
    model: str | Path,
    data: str | Path | TaskData,
    *,
    out: str | Path,
    method: Method = "bitfit",
    columns: Columns | None = None,
    merge: bool = False,
    resume: bool = False,
    cpu: bool = False,
    stop_on: Sequence[SignKind] = (),
    callbacks: Sequence[Any] = (),
    report_to: Sequence[str] = (),
    progress: Progress | None = None,
    **hyper: Any,
) -> Tuned:
    """Fine-tune `model` on `data`.

    Parameters
    ----------
    model
        The base: a directory in the Hugging Face layout, with its tokenizer.
    data
        CSV, TSV, JSONL or Parquet, or examples that were read already. Without a label column the model is
        trained as the language model that it is.
    out
        The directory to make. It appears when all of it is there.
    method
        ``bitfit``, ``lora``, ``full`` or ``head``.
    columns
        Which columns to read; guessed where not given.
    merge
        With ``lora``: write the merged model instead of the adapter.
    resume
        Go on with a run that was interrupted, or take a finished one as it is.
    cpu
        Leave a GPU alone.
    stop_on
        Kinds of signs that end the training early (`bitfit_probe.tuning.watch.Sign`).
    callbacks, report_to
        Callbacks of transformers, and what it logs to (``"tensorboard"``).
    progress
        Called with the steps done and the steps to do.
    **hyper
        Fields of `bitfit_probe.tuning.settings.Settings`, such as ``roles=("q", "m2")``, ``epochs=8``.

    Returns
    -------
    Tuned

    Raises
    ------
    NoBiasesError
        BitFit of an architecture without biases.
    BitfitProbeError
        The base or the data can't be read, the settings contradict each other, or `out` is taken.
    """
    settings = Settings(method=method, **hyper)
    base = open_checkpoint(model)
    examples = data if isinstance(data, TaskData) else read_examples(data, columns)
    run = {
        "base": digest_of(base),
        "data": examples_sha256(data) if isinstance(data, TaskData) else file_sha256(Path(data)),
        "columns": vars(examples.columns),
        "settings": settings.as_dict() | {"merge": merge},
    }
    # Whatever is left there is judged by its content, which JSON may spell in other types.
    with Workplace(Path(out), json.loads(json.dumps(run)), resume=resume) as place:
        if not place.finished:
            job = _Job(base, str(model), examples, settings, run, merge, cpu, tuple(stop_on))
            with quietly():
                job.run(place, callbacks, report_to, progress)
            place.publish()
    return Tuned(Path(out), read_json(Path(out) / CARD) or {})


class _Ready(NamedTuple):
    """What training needs: settings (with the rate that is used), model, data, and the trials of a search."""

    settings: Settings
    built: Built
    task: Task
    trials: list[dict[str, float]]


@dataclass(frozen=True)
class _Job:
    """What a run needs to know, once everything is read."""

    base: Checkpoint
    base_name: str
    examples: TaskData
    settings: Settings
    identity: dict[str, Any]
    merge: bool
    cpu: bool
    stop_on: tuple[SignKind, ...]

    def run(
        self,
        place: Workplace,
        callbacks: Sequence[Any],
        report_to: Sequence[str],
        progress: Progress | None,
    ) -> None:
        """Train, and put everything that is to be kept into ``place.result``."""
        start = time.monotonic()
        ready = self._ready()
        self.base.check_unchanged()  # what was loaded is what the card will name
        trainer = make_trainer(
            ready.built,
            ready.task,
            ready.settings,
            place.checkpoints,
            callbacks=callbacks,
            report_to=report_to,
            progress=progress,
            cpu=self.cpu,
        )
        watch = self._watch(ready.settings, ready.built).attach(trainer)
        last = place.last_checkpoint()
        with running(ready.built.model):
            trainer.train(resume_from_checkpoint=str(last) if last else None)
        _refuse_diverged(watch.signs, ready.settings)
        card = make_card(
            run=self.identity,
            base=self.base_name,
            data=self.examples,
            settings=ready.settings,
            built=ready.built,
            task=ready.task,
            state=trainer.state,
            search=ready.trials,
            signs=[asdict(sign) for sign in watch.signs],
            seconds=time.monotonic() - start,
        )
        self._write(trainer, ready.task.tokenizer, card, place.result)
        if (place.checkpoints / "runs").is_dir():  # what TensorBoard shows
            (place.checkpoints / "runs").replace(place.result / "runs")

    def _ready(self) -> _Ready:
        """Everything that training needs, the learning rate searched for where that was asked."""
        settings = self.settings
        tokenizer = padding_tokenizer(self.base.folder)
        objective = objective_for(self.examples, self.base, tokenizer, settings.objective)
        train, held_out = split(self.examples, settings.eval_split, settings.seed)
        settings = settings.on(len(train), len(held_out) if held_out else 0)

        def make(settings: Settings) -> Built:
            built = build(self.base, train, objective, settings)
            built.model.config.pad_token_id = tokenizer.pad_token_id
            return built

        built = make(settings)
        longest = longest_text(built.model, tokenizer, settings.max_length)
        task = Task.of(train, held_out, objective, tokenizer, settings, longest)
        if not settings.search:
            return _Ready(settings, built, task, [])
        settings, trials = search_rate(make, task, settings, cpu=self.cpu)
        return _Ready(settings, make(settings), task, trials)

    def _watch(self, settings: Settings, built: Built) -> Any:
        return BitFitProbeCallback(
            settings.method,
            roles=settings.roles,
            norms=settings.norms,
            also=[name for name in built.chosen.names if name in built.chosen.new],
            stop_on=("nan", *self.stop_on),
            quiet=True,
        )

    def _write(self, trainer: Any, tokenizer: Any, card: dict[str, Any], folder: Path) -> None:
        model = trainer.model.cpu()
        settle(model)
        if self.settings.method == "lora":
            model.peft_config["default"].base_model_name_or_path = self.base_name
            model = model.merge_and_unload() if self.merge else model
        model.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)  # peft's form to fill in
        tokenizer.save_pretrained(folder)
        trainer.state.best_model_checkpoint = None  # it goes with the other checkpoints
        trainer.state.save_to_json(str(folder / TRAINER_STATE))
        (folder / CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _refuse_diverged(signs: Sequence[Sign], settings: Settings) -> None:
    for sign in signs:
        if sign.kind == "nan":
            raise ModelError(
                f"training diverged at step {sign.step}: {sign.message}",
                advice=f"try a rate below {settings.rate:g}; nothing was written",
            )
