"""BP704."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.pair import Pair
from bitfit_probe.records import Finding
from bitfit_probe.rules.broken_promises import broken
from bitfit_probe.rules.engine.rule import Rule, rule

__all__ = ["shapes"]


@rule("BP704", "sizes-not-of-config", "error", needs=("tuned",), explains=("BP713",))
def shapes(pair: Pair, this: Rule) -> Iterator[Finding]:
    """Matrices have other sizes than config.json promises.

    What it means
    -------------
    config.json belongs to another model, or the table of words was resized and config.json was not.

    Why it matters
    --------------
    Loading stops on the shape; where mismatched sizes are ignored, it draws those matrices at random.

    How it is recognised
    --------------------
    Rows and columns of attention, MLP and the table of words against ``hidden_size``, ``intermediate_size``,
    heads and ``vocab_size``.

    What to do
    ----------
    Take the config.json that training wrote, or save both together again.

    References
    ----------
    huggingface/transformers#28122
    """
    yield from broken(pair, this, "shapes")
