"""Task data of random words, in which the label is planted."""

from __future__ import annotations

import numpy as np

from bitfit_probe.data import Columns, TaskData


def words_task(count: int, classes: int = 2, *, seed: int = 0, planted: bool = True) -> TaskData:
    """Sentences of 4 to 12 words; with `planted` one word tells the class."""
    random = np.random.default_rng(seed)
    labels = [number % classes for number in range(count)]
    texts = []
    for label in labels:
        words = [f"w{number}" for number in random.integers(classes, 40, random.integers(4, 13))]
        if planted:
            words[random.integers(len(words))] = f"w{label}"
        texts.append(" ".join(words))
    return TaskData(
        tuple(texts),
        None,
        tuple(labels),
        tuple(str(number) for number in range(classes)),
        "classification",
        Columns("text", None, "label"),
    )
