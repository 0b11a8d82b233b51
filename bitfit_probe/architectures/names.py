"""Tensor names taken apart: numbered components, and what is left when leading ones are dropped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Name", "Tail", "looks_like_norm", "modern_leaf", "tails"]

#: A whole component of digits. Longer ones number no layer, and ``int`` refuses very long ones.
_NUMBER = re.compile(r"(?<![^.])[0-9]{1,6}(?![^.])")

#: Names of a norm's parameters before PyTorch's own were used (BERT's TensorFlow checkpoints).
_OLD_LEAVES = {"gamma": "weight", "beta": "bias"}


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
        self.shape = _NUMBER.sub("#", text)

    @property
    def components(self) -> list[str]:
        """What stands between the dots."""
        return self.text.split(".")

    @property
    def leaf(self) -> str:
        """Last component: ``weight``, ``bias``, …."""
        return self.text.rpartition(".")[2]

    @property
    def numbers(self) -> list[str]:
        """The components that count something, in order."""
        return _NUMBER.findall(self.text)

    @property
    def layer(self) -> int | None:
        """The first number: what most architectures count their layers with."""
        number = _NUMBER.search(self.text)
        return None if number is None else int(number.group())

    def head(self, count: int) -> str:
        """Give the first `count` components with the dot behind them."""
        return "".join(f"{part}." for part in self.text.split(".", count)[:count])


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


def modern_leaf(leaf: str) -> str:
    """Give the present name of a norm's parameter: gamma is weight, beta is bias."""
    return _OLD_LEAVES.get(leaf, leaf)
