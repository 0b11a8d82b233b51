"""Names that differ in the numbers of their layers and experts alone: what they mean is worked out once.

A question is asked of a stand-in, the name with numbers that occur nowhere else; where these come back in the
answer, each name has its own number there.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from dataclasses import replace

from bitfit_probe.architectures.names import NUMBER
from bitfit_probe.records import TensorInfo

__all__ = ["Patterns"]

#: A number of as many digits as one may have.
_LAST = 999_999


class Patterns:
    """Answers by pattern.

    Parameters
    ----------
    texts
        Whatever names are compared with. A name that has one of their numbers is asked itself: there the
        number may mean more than a place in a row.
    canonical, info
        The questions: the canonical name of a name, and the place of a name with so many axes.
    """

    def __init__(
        self, texts: Iterable[str], canonical: Callable[[str], str], info: Callable[[str, int], TensorInfo]
    ) -> None:
        self._literal = {number for text in texts for number in NUMBER.findall(text)}
        self._canonical, self._info = canonical, info
        self._pieces: dict[str, tuple[str | int, ...]] = {}
        self._places: dict[tuple[str, int], tuple[TensorInfo, int | None, int | None]] = {}
        self._infos: dict[tuple[str, int, str | None, str | None], TensorInfo] = {}

    def canonical(self, name: str) -> str:
        """The canonical name of `name`."""
        numbers = self._numbers(name)
        if numbers is None:
            return self._canonical(name)
        shape = NUMBER.sub("#", name)
        pieces = self._pieces.get(shape)
        if pieces is None:
            pieces = self._pieces[shape] = self._split(shape, len(numbers))
        return "".join([piece if isinstance(piece, str) else numbers[piece] for piece in pieces])

    def info(self, name: str, ndim: int) -> TensorInfo:
        """The place of `name`, one object for all names that share it."""
        numbers = self._numbers(name)
        if numbers is None:
            return self._info(name, ndim)
        key = NUMBER.sub("#", name), ndim
        known = self._places.get(key)
        if known is None:
            stands = self._stand_ins(len(numbers))
            found = self._info(_filled(key[0], stands), ndim)
            layer, expert = (
                None if count is None else stands.index(str(count)) for count in (found.layer, found.expert)
            )
            known = self._places[key] = found, layer, expert
        template, layer, expert = known
        own = None if layer is None else numbers[layer], None if expert is None else numbers[expert]
        info = self._infos.get((*key, *own))
        if info is None:
            at_layer, of_expert = (None if number is None else int(number) for number in own)
            info = replace(template, layer=at_layer, expert=of_expert)
            self._infos[(*key, *own)] = info
        return info

    def _numbers(self, name: str) -> list[str] | None:
        """The numbers of `name`; None where it is a pattern of its own."""
        numbers: list[str] = NUMBER.findall(name)
        return None if not self._literal.isdisjoint(numbers) or "#" in name else numbers

    def _stand_ins(self, count: int) -> list[str]:
        free = (text for number in range(_LAST, 0, -1) if (text := str(number)) not in self._literal)
        return list(itertools.islice(free, count))

    def _split(self, shape: str, count: int) -> tuple[str | int, ...]:
        """The canonical name, with the place among the name's numbers where one of them stands."""
        stands = self._stand_ins(count)
        answer = self._canonical(_filled(shape, stands))
        parts = re.split(f"({NUMBER.pattern})", answer)
        return tuple(stands.index(part) if part in stands else part for part in parts)


def _filled(shape: str, numbers: Iterable[str]) -> str:
    """The shape with `numbers` for its marks, in order."""
    rest = iter(numbers)
    return "".join(next(rest) if part == "#" else part for part in re.split("(#)", shape))
