"""Fine-tune a base on labelled or plain text, by biases only or otherwise, and leave a record of it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitfit_probe.checkpoint import Checkpoint, open_checkpoint
from bitfit_probe.checkpoint.interface import read_json
from bitfit_probe.checkpoint.trainer_state import TRAINER_STATE
from bitfit_probe.data import Columns, TaskData, read_examples
from bitfit_probe.errors import ModelError
from bitfit_probe.inference import longest_text, padding_tokenizer, quietly, running
from bitfit_probe.tuning.build import Built, build, objective_for
from bitfit_probe.tuning.callback import BitFitProbeCallback
from bitfit_probe.tuning.card import Done, Ready, make_card
from bitfit_probe.tuning.encode import split
from bitfit_probe.tuning.fingerprint import digest_of, examples_sha256, file_sha256
from bitfit_probe.tuning.master_weights import settle
from bitfit_probe.tuning.options import TuneOptions
from bitfit_probe.tuning.run_dir import CARD, Workplace
from bitfit_probe.tuning.search import search_rate
from bitfit_probe.tuning.train import Progress, Task, make_trainer
from bitfit_probe.tuning.watch import Sign

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
    columns: Columns | None = None,
    options: TuneOptions | None = None,
    progress: Progress | None = None,
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
    columns
        Which columns to read; guessed where not given.
    options
        The method, its hyper-parameters, and how the run is carried out; BitFit where not given.
    progress
        Called with the steps done and the steps to do.

    Returns
    -------
    Tuned

    Raises
    ------
    NoBiasesError
        BitFit of an architecture without biases.
    BitfitProbeError
        The base or the data can't be read, or `out` is taken.

    Examples
    --------
    >>> import bitfit_probe as bp
    >>> options = bp.TuneOptions(method="lora", epochs=8)
    >>> bp.tune("base", "labelled.csv", out="tuned", options=options)  # doctest: +SKIP
    """
    options = options or TuneOptions()
    base = open_checkpoint(model)
    examples = data if isinstance(data, TaskData) else read_examples(data, columns)
    run = {
        "base": digest_of(base),
        "data": examples_sha256(data) if isinstance(data, TaskData) else file_sha256(Path(data)),
        "columns": vars(examples.columns),
        "settings": options.as_dict(),
    }
    # Whatever is left there is judged by its content, which JSON may spell in other types.
    with Workplace(Path(out), json.loads(json.dumps(run)), resume=options.resume) as place:
        if not place.finished:
            job = _Job(base, str(model), examples, options, run)
            with quietly():
                job.run(place, progress)
            place.publish()
    return Tuned(Path(out), read_json(Path(out) / CARD) or {})


@dataclass(frozen=True)
class _Job:
    """What a run needs to know, once everything is read."""

    base: Checkpoint
    base_name: str
    examples: TaskData
    options: TuneOptions
    identity: dict[str, Any]

    def run(self, place: Workplace, progress: Progress | None) -> None:
        """Train, and put everything that is to be kept into ``place.result``."""
        start = time.monotonic()
        ready = self._ready()
        self.base.check_unchanged()  # what was loaded is what the card will name
        trainer = make_trainer(ready.built, ready.task, ready.options, place.checkpoints, progress=progress)
        watch = self._watch(ready.options, ready.built).attach(trainer)
        last = place.last_checkpoint()
        with running(ready.built.model):
            trainer.train(resume_from_checkpoint=str(last) if last else None)
        _refuse_diverged(watch.signs, ready.options)
        done = Done(trainer.state, watch.signs, time.monotonic() - start)
        card = make_card(self.identity, self.base_name, self.examples, ready, done)
        self._write(trainer, ready.task.tokenizer, card, place.result)
        if (place.checkpoints / "runs").is_dir():  # what TensorBoard shows
            (place.checkpoints / "runs").replace(place.result / "runs")

    def _ready(self) -> Ready:
        """Everything that training needs, the learning rate searched for where that was asked."""
        options = self.options
        tokenizer = padding_tokenizer(self.base.folder)
        objective = objective_for(self.examples, self.base, tokenizer, options.objective)
        train, held_out = split(self.examples, options.eval_split, options.seed)
        options = options.on(len(train), len(held_out) if held_out else 0)

        def make(options: TuneOptions) -> Built:
            built = build(self.base, train, objective, options)
            built.model.config.pad_token_id = tokenizer.pad_token_id
            return built

        built = make(options)
        longest = longest_text(built.model, tokenizer, options.max_length)
        task = Task.of(train, held_out, objective, tokenizer, options, longest)
        if not options.search:
            return Ready(options, built, task, [])
        options, trials = search_rate(make, task, options)
        return Ready(options, make(options), task, trials)

    def _watch(self, options: TuneOptions, built: Built) -> Any:
        return BitFitProbeCallback(
            options.method,
            roles=options.roles,
            norms=options.norms,
            also=[name for name in built.chosen.names if name in built.chosen.new],
            stop_on=("nan", *options.stop_on),
            quiet=True,
        )

    def _write(self, trainer: Any, tokenizer: Any, card: dict[str, Any], folder: Path) -> None:
        model = trainer.model.cpu()
        settle(model)
        if self.options.method == "lora":
            model.peft_config["default"].base_model_name_or_path = self.base_name
            model = model.merge_and_unload() if self.options.merge else model
        model.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)  # peft's form to fill in
        tokenizer.save_pretrained(folder)
        trainer.state.best_model_checkpoint = None  # it goes with the other checkpoints
        trainer.state.save_to_json(str(folder / TRAINER_STATE))
        (folder / CARD).write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _refuse_diverged(signs: Sequence[Sign], options: TuneOptions) -> None:
    for sign in signs:
        if sign.kind == "nan":
            raise ModelError(
                f"training diverged at step {sign.step}: {sign.message}",
                advice=f"try a rate below {options.rate:g}; nothing was written",
            )
