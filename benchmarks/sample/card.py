"""What the sample is and how good it is, measured on the files that are shipped."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bitfit import (
    TuneSettings,
    check_pair,
    chosen,
    majority_accuracy,
    predict,
    probe,
    tfidf_accuracy,
)
from fetch import ARCHIVES
from pretrain import PretrainSettings
from safetensors.torch import load_file
from task import Row, Task, TaskSettings
from transformers import BertTokenizer

__all__ = ["make_card", "readme"]

_SHIPPED = (
    "base/config.json",
    "base/model.safetensors",
    "base/tokenizer.json",
    "base/tokenizer_config.json",
    "tuned/config.json",
    "tuned/model.safetensors",
    "tuned/tokenizer.json",
    "tuned/tokenizer_config.json",
    "tuned/trainer_state.json",
)


def make_card(
    sample: Path,
    task: Task,
    settings: PretrainSettings,
    pretraining: dict[str, Any],
    runs: list[dict[str, Any]],
) -> dict[str, Any]:
    """Every figure that the README quotes."""
    tensors = load_file(sample / "base" / "model.safetensors")
    rows = task.test
    return {
        "sources": [asdict(archive) for archive in ARCHIVES.values()],
        "made_with": {name: version(name) for name in ("torch", "transformers", "tokenizers")},
        "model": {
            "tensors": len(tensors),
            "parameters": sum(tensor.numel() for tensor in tensors.values()),
        },
        "pretraining": {"settings": asdict(settings), **pretraining},
        "task": {
            "settings": asdict(TaskSettings()),
            "labels": task.labels,
            "rows": {"train": len(task.train), "dev": len(task.dev), "test": len(rows)},
            "test_rows_by_label": dict(sorted(Counter(row.label for row in rows).items())),
        },
        "bitfit": {
            "settings": asdict(TuneSettings(learning_rate=chosen(runs)["learning_rate"])),
            "sweep": [{k: v for k, v in run.items() if k != "folder"} for run in runs],
        },
        "accuracy": _accuracies(sample, task, rows),
        "pair": check_pair(sample / "base", sample / "tuned"),
        "files": {name: _described(sample / name) for name in _SHIPPED},
    }


def readme(card: dict[str, Any]) -> str:
    """Return the README that goes beside the sample."""
    return "\n".join(
        [
            *_readme_intro(card),
            *_readme_base(card),
            *_readme_tuned(card),
            *_readme_files(card),
        ]
    )


def _accuracies(sample: Path, task: Task, rows: list[Row]) -> dict[str, Any]:
    """Test accuracies, and BitFit against the probe on the same rows."""
    wanted = [row.label for row in rows]
    frozen = probe(sample / "base", BertTokenizer.from_pretrained(sample / "base"), task, rows)
    by_probe = [got == want for got, want in zip(frozen.predictions, wanted, strict=True)]
    labels = predict(sample / "tuned", rows)
    by_bitfit = [got == want for got, want in zip(labels, wanted, strict=True)]
    share = sum(by_bitfit) / len(rows)
    return {
        "majority": majority_accuracy(task, rows),
        "tfidf": tfidf_accuracy(task, rows),
        "frozen_probe": sum(by_probe) / len(rows),
        "frozen_probe_features": frozen.features,
        "bitfit": share,
        "bitfit_standard_error": (share * (1 - share) / len(rows)) ** 0.5,
        "only_bitfit_right": sum(b and not p for b, p in zip(by_bitfit, by_probe, strict=True)),
        "only_probe_right": sum(p and not b for b, p in zip(by_bitfit, by_probe, strict=True)),
    }


def _described(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _readme_intro(card: dict[str, Any]) -> list[str]:
    labels = ", ".join(f"`{label}`" for label in card["task"]["labels"])
    return [
        "# The embedded sample",
        "",
        "A tiny English BERT with its masked-language-modelling head (`base/`), a BitFit",
        "checkpoint of it (`tuned/`). Small enough to ship, and real: the base is pretrained, and",
        "the biases are trained on labelled text. It is an example to look at, not a model to use.",
        "",
        "The task: what kind of answer does this question ask for?",
        f"Labels: {labels}.",
        "",
        "Rebuilt by `python benchmarks/sample/make_sample.py`, which also writes `card.json`, the",
        "source of every figure here.",
        "",
        "## Sources",
        "",
        "| package | used for | licence |",
        "|---|---|---|",
        *(
            f"| {source['package']} {source['version']} ({source['registry']}) "
            f"| {source['used_for']} | {source['licence']} |"
            for source in card["sources"]
        ),
        "",
        "Each archive's SHA-256 is pinned. None of the texts is shipped; the script leaves the task's",
        "held-out questions in `benchmarks/.cache/task.csv`.",
        "",
    ]


def _readme_base(card: dict[str, Any]) -> list[str]:
    run = card["pretraining"]
    settings = run["settings"]
    passes = run["tokens_seen"] / run["training_tokens"]
    return [
        "## The base",
        "",
        f"{card['model']['parameters']:,} parameters: {settings['layers']} layers, width "
        f"{settings['hidden']}, {settings['heads']} heads, {settings['positions']} positions, a "
        f"lower-cased WordPiece vocabulary of {settings['vocabulary']:,}.",
        "",
        "BERT's two objectives, masked words (15 %, 80/10/10) and next sentence; the second gives",
        "the base a trained pooler. AdamW, linear warm-up and decay, no dropout, seed "
        f"{settings['seed']}, {settings['tokens_a_step']:,} tokens a step:",
        f"{settings['steps']:,} steps at {settings['learning_rate']:g} with sequences growing from "
        f"{settings['positions'] // 4} to {settings['positions']} tokens, then "
        f"{settings['long_steps']:,} at {settings['long_learning_rate']:g}, half of them at full "
        "length.",
        f"{run['training_tokens']:,} tokens of text ({run['documents']['training']} documents), "
        f"{passes:.1f} passes, {run['minutes']} minutes on one core.",
        "",
        f"On {run['documents']['held_out']} held-out documents ({run['held_out_tokens']:,} tokens):",
        "",
        "| sequence length | | masked-word loss | accuracy | next-sentence accuracy |",
        "|---|---|---|---|---|",
        *(line for figures in run["held_out"] for line in _loss_rows(figures)),
        "",
    ]


def _loss_rows(figures: dict[str, Any]) -> list[str]:
    length = figures["length"]
    unigram = f"| {length} | training frequencies | {figures['unigram_loss']:.3f} | | |"
    untrained, pretrained = (
        f"| {length} | {name} | {figures[name]['mlm_loss']:.3f} "
        f"| {figures[name]['mlm_accuracy']:.3f} "
        f"| {figures[name]['next_sentence_accuracy']:.3f} |"
        for name in ("untrained", "pretrained")
    )
    return [untrained, unigram, pretrained]


def _readme_tuned(card: dict[str, Any]) -> list[str]:
    task, settings, pair = card["task"], card["bitfit"]["settings"], card["pair"]
    accuracy = card["accuracy"]
    rates = ", ".join(
        f"{run['learning_rate']:g} ({run['dev_accuracy']:.3f})" for run in card["bitfit"]["sweep"]
    )
    return [
        "## The BitFit checkpoint",
        "",
        "Trained: every `bias` of the embeddings' LayerNorm, the encoder and the pooler, and the",
        f"classification head. {pair['biases_moved']} bias tensors "
        f"({pair['bias_parameters']:,} numbers) moved; the other "
        f"{pair['other_tensors_identical']} shared tensors are bit for bit those of the base.",
        "",
        f"{task['rows']['train']:,} training questions, {settings['epochs']} epochs, batch "
        f"{settings['batch']}, AdamW without weight decay, warm-up "
        f"{settings['warmup_share']:.0%}, linear decay, seed {settings['seed']}. Learning rate "
        f"{settings['learning_rate']:g}, chosen on {task['rows']['dev']} development questions "
        f"among {rates}.",
        "",
        f"Accuracy on the {task['rows']['test']} held-out questions, which took no part in "
        "training or in the choice of the learning rate:",
        "",
        "| | accuracy |",
        "|---|---|",
        f"| majority class | {accuracy['majority']:.3f} |",
        f"| logistic regression on the frozen base ({accuracy['frozen_probe_features']} features) "
        f"| {accuracy['frozen_probe']:.3f} |",
        f"| BitFit | {accuracy['bitfit']:.3f} ± {accuracy['bitfit_standard_error']:.3f} |",
        f"| logistic regression on TF-IDF, no model | {accuracy['tfidf']:.3f} |",
        "",
        "Counting words does better than a model of this size. The point of the pair is the step",
        "from the frozen base to BitFit.",
        "",
        f"BitFit alone is right on {accuracy['only_bitfit_right']} questions, the probe alone on "
        f"{accuracy['only_probe_right']}.",
        "",
    ]


def _readme_files(card: dict[str, Any]) -> list[str]:
    rows = [f"| {name} | {file['bytes']:,} |" for name, file in card["files"].items()]
    total = sum(file["bytes"] for file in card["files"].values())
    made_with = ", ".join(f"{name} {number}" for name, number in card["made_with"].items())
    return [
        "## Files",
        "",
        "| file | bytes |",
        "|---|---|",
        *rows,
        f"| together | {total:,} |",
        "",
        f"Made with {made_with}. Only the base has the pretraining heads, only the tuned",
        "checkpoint the classifier.",
        "",
    ]
