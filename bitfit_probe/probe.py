"""Where the rooms meet: from paths to a result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bitfit_probe.checkpoint import open_checkpoint
from bitfit_probe.diff import Progress, compare, side
from bitfit_probe.records import Diff
from bitfit_probe.records.distance import Distance

if TYPE_CHECKING:
    from bitfit_probe.data import Columns

__all__ = ["diff", "distance"]


def diff(
    base: str | Path,
    *tuned: str | Path,
    key: str | None = None,
    biases_only: bool = False,
    trust_checksums: bool = False,
    progress: Progress | None = None,
) -> Diff:
    """Say what moved between a base checkpoint and those tuned from it.

    Parameters
    ----------
    base, *tuned
        Weight files, indexes of shards, or directories in the Hugging Face layout.
    key
        Which state dict to take where a file holds several, such as ``model`` or ``ema``.
    biases_only
        Read biases only; everything else counts as not checked.
    trust_checksums
        Take equal CRC-32 of two zip archives for equal bytes, without reading them.
    progress
        Called with the bytes done and the bytes to do.

    Returns
    -------
    Diff
        Figures a tensor, by role and layer, and a verdict for each tuned checkpoint.

    Raises
    ------
    BitfitProbeError
        A checkpoint could not be read (BE1xx) or the two don't align (BE2xx).

    Examples
    --------
    >>> import bitfit_probe as bp
    >>> from bitfit_probe import sample
    >>> report = bp.diff(sample.base_path(), sample.tuned_path())
    >>> report.comparisons[0].verdict
    'bitfit'
    """
    if not tuned:
        raise ValueError("give at least one tuned checkpoint")
    ours = open_checkpoint(base, key)
    comparisons = []
    for path in tuned:
        comparison, alignment = compare(
            ours,
            open_checkpoint(path, key),
            biases_only=biases_only,
            trust_checksums=trust_checksums,
            progress=progress,
        )
        comparisons.append(comparison)
    return Diff(
        base=side(ours, alignment, tuned_side=False),
        architecture=alignment.architecture.family,
        architecture_known_from=alignment.architecture.known_from,
        comparisons=tuple(comparisons),
    )


def distance(
    model: str | Path,
    data: str | Path,
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
        Labelled examples: CSV, TSV, JSONL or Parquet.
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
    from bitfit_probe.data import read_examples, read_texts
    from bitfit_probe.distance import DEFAULT, english_reference, measure_distance

    texts: tuple[str, ...] = ()
    name = "English public-domain prose"
    if reference is None:
        texts = english_reference()
    elif reference is not False:
        texts, name = read_texts(reference), Path(reference).name
    return measure_distance(
        model,
        read_examples(data, columns),
        texts,
        reference_name=name,
        examples=examples,
        tuned=tuned,
        settings=DEFAULT if reach else None,
        seed=seed,
        progress=progress,
    )
