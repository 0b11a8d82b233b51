"""BP713."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.pair import Pair
from bitfit_probe.records import Finding
from bitfit_probe.rules.broken_promises import broken
from bitfit_probe.rules.engine.rule import Rule, rule

__all__ = ["built_class"]


@rule("BP713", "class-not-filled", "error", needs=("tuned",))
def built_class(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The class that config.json names has parameters that the file does not fill.

    What it means
    -------------
    transformers builds the class and lays the file's names into it: some parameters stay empty, have another
    shape, or some names find no place.

    Why it matters
    --------------
    What stays empty is drawn at random, what has no place is dropped, and loading ends with a warning at
    most.

    How it is recognised
    --------------------
    With `--build`: the class of the installed transformers, built and filled on the meta device, without
    values. Names without a place are a note.

    What to do
    ----------
    Name the class that was trained in config.json, or save the model with save_pretrained.

    References
    ----------
    huggingface/transformers#26160
    """
    yield from broken(pair, this, "class")
