"""Tensor names taken apart: numbered components, and what is left when leading ones are dropped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["NUMBER", "Name", "Tail", "is_bias", "looks_like_norm", "modern_leaf", "tails"]

#: A whole component of digits. Longer ones number no layer, and ``int`` refuses very long ones.
NUMBER = re.compile(r"(?<![^.])[0-9]{1,6}(?![^.])")

#: Names of a norm's parameters before PyTorch's own were used (BERT's TensorFlow checkpoints).
_OLD_LEAVES = {"gamma": "weight", "beta": "bias"}

#: ``beta`` is a norm's; torch numbers a recurrent layer's biases by gate, layer and direction
#: (``bias_hh_l0_reverse``); ``pos_bias_u`` and ``pos_bias_v`` are a Conformer's, added to the queries.
_BIAS = re.compile(r"beta|.*bias(_[ih]h)?(_l[0-9]+)?(_reverse)?|.*_bias_[uv]")


class Tail(NamedTuple):
    """A name without its first `dropped` components, numbers replaced by ``#``."""

    dropped: int
    path: str
    module: str
    leaf: str


class Name:
    """One tensor name and its components.

    Parameters
    ----------
    text
        The name as the checkpoint has it.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        #: The name with its numbers replaced, the same for all layers.
        self.shape = NUMBER.sub("#", text)

    @property
    def components(self) -> list[str]:
        """What stands between the dots."""
        return self.text.split(".")

    @property
    def leaf(self) -> str:
        """Last component: ``weight``, ``bias``, …; of TensorFlow's ``dense/bias:0`` as well."""
        return self.text.rpartition(".")[2].rpartition("/")[2].partition(":")[0]

    @property
    def numbers(self) -> list[str]:
        """The components that count something, in order."""
        return NUMBER.findall(self.text)

    @property
    def layer(self) -> int | None:
        """The first number: what most architectures count their layers with."""
        number = NUMBER.search(self.text)
        return None if number is None else int(number.group())

    def head(self, count: int) -> str:
        """Give the first `count` components with the dot behind them."""
        end = -1
        for _ in range(count):
            end = self.text.find(".", end + 1)
        return self.text[: end + 1]


def tails(shape: str) -> Iterator[Tail]:
    """Drop no component of a name, then one, then two, … down to the last.

    Parameters
    ----------
    shape
        The name's shape.

    Yields
    ------
    Tail
    """
    start = dropped = 0
    while True:
        path = shape[start:]
        module, _, leaf = path.rpartition(".")
        yield Tail(dropped, path, module, leaf)
        start = shape.find(".", start) + 1
        if start == 0:
            return
        dropped += 1


def looks_like_norm(component: str) -> bool:
    """Tell from its name whether a module is a norm (``LayerNorm``, ``norm1``, ``ln_f``, …)."""
    lower = component.lower()
    return "norm" in lower or lower == "ln" or lower.startswith(("ln_", "ln1", "ln2"))


def is_bias(name: str) -> bool:
    """Tell from a tensor's name, or its last component, whether it is added to what a layer computes.

    >>> [is_bias(name) for name in ("fc.bias", "q_bias", "rnn.bias_ih_l0", "rnn.weight_ih_l0", "bias_k")]
    [True, True, True, False, False]
    """
    return _BIAS.fullmatch(Name(name).leaf) is not None


def modern_leaf(leaf: str) -> str:
    """Give the present name of a norm's parameter: gamma is weight, beta is bias."""
    return _OLD_LEAVES.get(leaf, leaf)
