"""BP701."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.pair import Pair
from bitfit_probe.records import Finding
from bitfit_probe.rules.broken_promises import broken
from bitfit_probe.rules.engine.rule import Rule, rule

__all__ = ["layers"]


@rule("BP701", "layers-missing", "error", needs=("tuned",), explains=("BP713",))
def layers(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The file holds another number of layers than config.json promises.

    What it means
    -------------
    config.json says how many layers the class builds; the file holds fewer of them, or more.

    Why it matters
    --------------
    Loaders draw absent layers at random and drop those that are too many. Neither stops, so the model serves
    noise or another, shallower model.

    How it is recognised
    --------------------
    The layers that tensors are numbered with, a stack at a time, against the entry of config.json that the
    family's table names (``num_hidden_layers``, ``n_layer``, ``encoder_layers``, …). Layers that predict
    further ahead (``num_nextn_predict_layers``) may be there or not.

    What to do
    ----------
    Export again and hold the number of tensors against the base's; where config.json is wrong, take the
    base's.

    References
    ----------
    areal-project/AReaL#1403
    """
    yield from broken(pair, this, "layers")
