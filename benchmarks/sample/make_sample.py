"""Make the embedded sample: a tiny pretrained BERT, and its BitFit checkpoint.

    python benchmarks/sample/make_sample.py [--jobs N] [--out FOLDER]

Fetches the texts, pretrains, tunes, checks, and writes ``base/``, ``tuned/``, ``card.json`` and
``README.md`` into ``bitfit_probe/sample``. Work in progress and the task's held-out rows are kept in
``benchmarks/.cache``; a run that was stopped continues from there.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, cast

import torch
from bitfit import TuneSettings, chosen, tune
from card import make_card, readme
from corpus import TokenCorpus, make_tokenizer, split_documents, tokenize
from fetch import documents, fetch_all, questions
from pretrain import PretrainSettings, evaluate, new_model, pretrain, unigram_loss
from task import Task, TaskSettings, make_task, write_rows
from transformers import BertTokenizer, PreTrainedModel
from transformers.utils import logging

_REPOSITORY = Path(__file__).resolve().parents[2]
_CACHE = _REPOSITORY / "benchmarks" / ".cache"
_VOCABULARY = Path(__file__).with_name("vocab.txt")
_RATES = (2e-3, 5e-3, 1e-2, 2e-2)


def main() -> None:
    """Run every stage; each one skips what an earlier run has finished."""
    parser = argparse.ArgumentParser(description="Make the embedded sample.")
    parser.add_argument("--jobs", type=int, default=1, help="tuning runs at the same time")
    parser.add_argument("--out", type=Path, default=_REPOSITORY / "bitfit_probe" / "sample")
    options = parser.parse_args()
    _be_quiet()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    settings = PretrainSettings()

    paths = fetch_all(_CACHE)
    found = documents(paths)
    kept, held = split_documents(found, settings.held_out_share, settings.seed)
    tokenizer = make_tokenizer(kept, settings.vocabulary, _VOCABULARY, out / "base")
    train, unseen = tokenize(kept, tokenizer), tokenize(held, tokenizer)
    figures = _make_base(settings, train, unseen, out / "base")
    figures["documents"] = {"training": len(kept), "held_out": len(held)}

    task = make_task(questions(paths), TaskSettings(), settings.seed)
    write_rows(task.test, _CACHE / "task.csv")
    runs = _sweep(out / "base", task, options.jobs)
    _make_tuned(chosen(runs), out / "base", out / "tuned")

    card = make_card(out, task, settings, figures, runs)
    (out / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    (out / "README.md").write_text(readme(card), encoding="utf-8")


def _make_base(
    settings: PretrainSettings, train: TokenCorpus, unseen: TokenCorpus, folder: Path
) -> dict[str, Any]:
    """Pretrain, save into ``folder`` and return the losses before and after."""
    model = new_model(settings)
    lengths = (settings.positions // 2, settings.positions)
    before = [evaluate(model, unseen, settings, length) for length in lengths]
    seconds = pretrain(model, train, settings, _CACHE / "pretrain.pt")
    model.save_pretrained(folder)
    return {
        "training_tokens": len(train.tokens),
        "held_out_tokens": len(unseen.tokens),
        "tokens_seen": settings.all_steps * settings.tokens_a_step,
        "minutes": round(seconds / 60),
        "held_out": [
            {
                "length": length,
                "unigram_loss": unigram_loss(train, unseen, settings, length),
                "untrained": untrained,
                "pretrained": evaluate(model, unseen, settings, length),
            }
            for length, untrained in zip(lengths, before, strict=True)
        ],
    }


def _sweep(base: Path, task: Task, jobs: int) -> list[dict[str, Any]]:
    """One run a learning rate, each in its own folder of the cache."""
    settings = [TuneSettings(learning_rate=rate) for rate in _RATES]
    folders = [_CACHE / "bitfit" / f"{rate:g}" for rate in _RATES]
    # Spawned, for a forked child would inherit the parent's thread pools.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        return list(pool.map(_tune_once, [base] * len(folders), [task] * len(folders), settings, folders))


def _tune_once(base: Path, task: Task, settings: TuneSettings, folder: Path) -> dict[str, Any]:
    _be_quiet()
    result = folder / "run.json"
    if not result.exists():
        tokenizer = BertTokenizer.from_pretrained(base)
        trainer = tune(base, tokenizer, task, settings, folder)
        cast("PreTrainedModel", trainer.model).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        trainer.state.save_to_json(str(folder / "trainer_state.json"))
        last = [entry for entry in trainer.state.log_history if "eval_accuracy" in entry][-1]
        run = {"learning_rate": settings.learning_rate, "folder": str(folder)}
        run |= {"dev_accuracy": last["eval_accuracy"], "dev_loss": last["eval_loss"]}
        result.write_text(json.dumps(run), encoding="utf-8")
    found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return found


def _make_tuned(run: dict[str, Any], base: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "model.safetensors", "trainer_state.json"):
        shutil.copyfile(Path(run["folder"]) / name, folder / name)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(base / name, folder / name)


def _be_quiet() -> None:
    # One thread: the sums, and so the weights, do not depend on the number of cores.
    torch.set_num_threads(1)
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
