"""BP705."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.pair import Pair
from bitfit_probe.records import Finding
from bitfit_probe.rules.broken_promises import broken
from bitfit_probe.rules.engine.rule import Rule, rule

__all__ = ["settings"]


@rule("BP705", "setting-changed", "error", needs=("tuned",))
def settings(pair: Pair, this: Rule) -> Iterator[Finding]:
    """A setting that decides what is computed differs from the base's.

    What it means
    -------------
    The weights may be right, but the settings beside them build another function around them: another
    activation, other heads, other rotary angles, another norm epsilon, another pooling, a module left out,
    other prompts, images that are normalised by other numbers.

    Why it matters
    --------------
    Names and shapes fit, so nothing warns; the model answers worse, or in noise.

    How it is recognised
    --------------------
    Each entry of config.json against the base's, nested ones as well, and of the settings of
    sentence-transformers' modules (modules.json too), prompts and preprocessors. Entries that computing does
    not ask for (dropout, labels, caches, generation) may differ; special tokens and lengths are notes,
    lengths and prompts of embedding models warnings; entries that are not known are listed among the promises
    and not judged. A file that one side lacks is not compared.

    What to do
    ----------
    Copy the base's value, unless training itself changed it.

    References
    ----------
    vllm-project/vllm#42624
    """
    yield from broken(pair, this, "settings")
