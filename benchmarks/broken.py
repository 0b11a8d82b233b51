"""A broken production fine-tune, made from the embedded sample by one mistake that happens every week.

    python -m benchmarks.broken DIR

The BitFit model was trained well. Then a script loaded it with a class whose head has another name, so the
trained head was dropped, a fresh one was drawn (bias 0, weights normal with the configuration's
``initializer_range``), and the result was saved with generic labels for production. Every bias of the body is
still the trained one, so a look at what moved says that all is well. Beside it lie labelled questions, 120 of
them to diagnose it by and 60 held out.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import shutil
from pathlib import Path

import numpy as np

from bitfit_probe import sample


def write(folder: Path) -> tuple[Path, Path]:
    """Write ``base``, ``production`` and two files of questions into `folder`; the paths of the models."""
    from safetensors.numpy import load_file, save_file

    base, production = folder / "base", folder / "production"
    for source, target in ((sample.base_path(), base), (sample.tuned_path(), production)):
        shutil.copytree(source, target, dirs_exist_ok=True)
    tensors = load_file(production / "model.safetensors")
    spread = json.loads((production / "config.json").read_text("utf-8"))["initializer_range"]
    random = np.random.default_rng(20)
    shape = tensors["classifier.weight"].shape
    tensors["classifier.weight"] = random.normal(0, spread, shape).astype(np.float32)
    tensors["classifier.bias"] = np.zeros(shape[0], np.float32)
    save_file(tensors, production / "model.safetensors", metadata={"format": "pt"})
    _generic_labels(production / "config.json", shape[0])
    rows = _questions()
    for name, part in (("questions.csv", rows[:120]), ("held-out.csv", rows[120:])):
        with (folder / name).open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, lineterminator="\n").writerows([("text", "label"), *part])
    return base, production


def _generic_labels(path: Path, count: int) -> None:
    config = json.loads(path.read_text("utf-8"))
    config["id2label"] = {str(number): f"LABEL_{number}" for number in range(count)}
    config["label2id"] = {f"LABEL_{number}": number for number in range(count)}
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


#: Patterns of questions for each kind of answer, and what to put into them.
_PATTERNS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "abbreviation": (
        ("What does {} stand for ?", "What is the full form of {} ?", "What does the abbreviation {} mean ?"),
        ("NASA", "AIDS", "CNN", "IBM", "BBC", "NATO", "UNESCO", "FBI", "CIA", "DNA"),
    ),
    "description": (
        ("What is {} ?", "How does {} work ?", "What is the origin of {} ?"),
        (
            "a tornado",
            "an engine",
            "inflation",
            "a solar cell",
            "gravity",
            "a vaccine",
            "the stock market",
            "a compass",
            "an earthquake",
            "democracy",
        ),
    ),
    "entity": (
        ("What kind of {} is the most common ?", "What {} do people like most ?", "What is the fastest {} ?"),
        ("animal", "car", "sport", "fish", "flower", "drink", "bird", "language", "plane", "food"),
    ),
    "human": (
        ("Who was the first {} ?", "Who is the most famous {} ?", "What {} won the prize ?"),
        (
            "president of the United States",
            "man on the moon",
            "American writer",
            "king of France",
            "actress",
            "woman in space",
            "prime minister",
            "painter",
            "inventor",
            "baseball player",
        ),
    ),
    "location": (
        ("Where is {} ?", "What country is {} in ?", "What city is nearest to {} ?"),
        (
            "the Grand Canyon",
            "the Eiffel Tower",
            "Mount Everest",
            "the Amazon river",
            "Lake Victoria",
            "the Sahara desert",
            "the White House",
            "the Great Wall",
            "Niagara Falls",
            "the Dead Sea",
        ),
    ),
    "number": (
        ("How many {} are there ?", "How much do {} cost ?", "When were {} first made ?"),
        ("houses", "cars", "books", "stamps", "computers", "watches", "films", "bridges", "ships", "guns"),
    ),
}


def _questions() -> list[tuple[str, str]]:
    """Questions whose answers are of the six kinds, made of patterns."""
    rows = [
        (pattern.format(word), kind)
        for kind, (patterns, words) in _PATTERNS.items()
        for pattern in patterns
        for word in words
    ]
    random.Random(20).shuffle(rows)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    print(*write(parser.parse_args().folder))
