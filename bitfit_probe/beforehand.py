"""Where the rooms meet before anything is trained: from a model and examples to what to expect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from bitfit_probe.data import Columns, TaskData
    from bitfit_probe.records.distance import Distance

__all__ = ["distance"]


def distance(
    model: str | Path,
    data: str | Path | TaskData,
    *,
    columns: Columns | None = None,
    reference: str | Path | Literal[False] | None = None,
    tuned: str | Path | None = None,
    reach: bool = True,
    examples: int = 300,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> Distance:
    """Measure how far a task lies from what a model knows, and what training could reach.

    Parameters
    ----------
    model
        Model directory with its tokenizer.
    data
        Labelled examples, or a file of them: CSV, TSV, JSONL or Parquet.
    columns
        Which columns to read; guessed by name where not given.
    reference
        A file of texts like those of the pretraining, one a line; None takes the English sample of the
        package, False leaves the text distances out.
    tuned
        A checkpoint tuned from the model: how much of its change biases could have done.
    reach
        Whether to forecast head, biases, LoRA and all weights.
    examples
        How many to take at random.
    seed
        Of sampling, folds and directions.
    progress
        Told what is being done, and the part of it done and to do.

    Raises
    ------
    BitfitProbeError
        The data can't be used (BE4xx) or the model can't be loaded (BE5xx).
    """
    from bitfit_probe.data import as_examples, read_texts
    from bitfit_probe.distance import DEFAULT, english_reference, measure_distance

    texts: tuple[str, ...] = ()
    name = "English public-domain prose"
    if reference is None:
        texts = english_reference()
    elif reference is not False:
        texts, name = read_texts(reference), Path(reference).name
    return measure_distance(
        model,
        as_examples(data, columns),
        texts,
        reference_name=name,
        examples=examples,
        tuned=tuned,
        settings=DEFAULT if reach else None,
        seed=seed,
        progress=progress,
    )
