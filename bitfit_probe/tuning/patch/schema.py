"""The form of a patch's description: whatever keeps to it can be applied to its base.

Everything is checked that the types of `Manifest` claim, and what its parts claim about each other.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bitfit_probe.checkpoint import Tensor
from bitfit_probe.checkpoint.storage.dtypes import BY_NAME
from bitfit_probe.checkpoint.storage.tensor import MAX_AXES, MAX_ELEMENTS, fault_of_name
from bitfit_probe.tuning.fingerprint import digest_of_rows

__all__ = ["MOST_COPIES", "Entry", "checked"]

#: A tensor of the base may stand in the tuned model under this many names: T5 saves its one table of words as
#: shared, encoder.embed_tokens, decoder.embed_tokens and lm_head.
MOST_COPIES = 4
_SHA256 = re.compile(r"[0-9a-f]{64}")
_KEYS = {
    "base_digest",
    "base",
    "tensors",
    "layout",
    "replaced",
    "roles",
    "config",
    "card",
    "made_by",
}


@dataclass(frozen=True)
class Entry:
    """One tensor in short: element type (as torch names it), shape, SHA-256 of its bytes."""

    dtype: str
    shape: tuple[int, ...]
    sha256: str

    @classmethod
    def of(cls, tensor: Tensor, sha256: str) -> Entry:
        """A tensor's entry, its hash being known."""
        return cls(tensor.dtype.name, tuple(tensor.shape), sha256)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def checked(loaded: Any) -> dict[str, Any]:
    """The fields of a manifest from its JSON, entries as `Entry`.

    Parameters
    ----------
    loaded
        The JSON without its ``format_version``.

    Raises
    ------
    ValueError
        Something in it is of another type, out of bounds, or contradicts the rest; the message says what.
    """
    fields = _object(loaded, "description")
    if fields.keys() != _KEYS:
        raise ValueError(f"its keys are not {', '.join(sorted(_KEYS))}")
    _encodable(fields)
    _hash(fields["base_digest"], "base_digest")
    for part in ("base", "tensors"):
        given = _object(fields[part], part)
        fields[part] = {name: _entry(row, f"{part}[{name!r}]") for name, row in given.items()}
    base: dict[str, Entry] = fields["base"]
    if (
        digest_of_rows((name, row.dtype, row.shape, row.sha256) for name, row in base.items())
        != fields["base_digest"]
    ):
        raise ValueError("base_digest is not that of base")
    _check_names(_object(fields["layout"], "layout"), _object(fields["replaced"], "replaced"), fields)
    _check_roles(_object(fields["roles"], "roles"), fields["tensors"])
    _object(fields["config"], "config")
    _check_card(fields["card"])
    if not isinstance(fields["made_by"], str | None):
        raise ValueError("made_by is no text")
    return fields


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is no object")
    return value


def _encodable(fields: dict[str, Any]) -> None:
    try:
        json.dumps(fields, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError("half of a surrogate pair stands in it") from error


def _hash(value: Any, what: str) -> str:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ValueError(f"{what} is no SHA-256")
    return value


def _entry(row: Any, what: str) -> Entry:
    if not isinstance(row, dict) or row.keys() != {"dtype", "shape", "sha256"}:
        raise ValueError(f"{what} is not made of dtype, shape and sha256")
    dtype, shape = row["dtype"], row["shape"]
    if not isinstance(dtype, str) or dtype not in BY_NAME:
        raise ValueError(f"{what} has no known dtype")
    if not isinstance(shape, list) or len(shape) > MAX_AXES:
        raise ValueError(f"{what} has no shape, or one of more than {MAX_AXES} axes")
    if any(type(size) is not int or not 0 <= size <= MAX_ELEMENTS for size in shape):
        raise ValueError(f"{what} has a size that is no whole number, or beyond any memory")
    if math.prod(max(size, 1) for size in shape) > MAX_ELEMENTS:
        raise ValueError(f"{what} has a shape that no memory holds")
    return Entry(dtype, tuple(shape), _hash(row["sha256"], f"the sha256 of {what}"))


def _check_names(layout: dict[str, Any], replaced: dict[str, Any], fields: dict[str, Any]) -> None:
    """Every name in `layout` and `replaced` is one that the base or the patch has."""
    base, tensors = fields["base"], fields["tensors"]
    if not layout:
        raise ValueError("layout holds no tensor")
    for part, names in (("layout", layout), ("replaced", replaced)):
        for name, source in names.items():
            if fault := fault_of_name(name):  # the result could not be opened
                raise ValueError(f"{part}: {fault}")
            if source is not None and (not isinstance(source, str) or source not in base):
                raise ValueError(f"{part}[{name!r}] is no tensor of the base")
    if {name for name, source in layout.items() if source is None} != tensors.keys():
        raise ValueError("layout takes other tensors from the patch than tensors lists")
    if replaced.keys() != tensors.keys():
        raise ValueError("replaced and tensors list different names")
    copies = Counter(source for source in layout.values() if source is not None)
    for source, count in copies.most_common(1):
        if count > MOST_COPIES:
            raise ValueError(f"layout copies {source!r} {count:,} times, more than {MOST_COPIES}")


def _check_roles(roles: dict[str, Any], tensors: Mapping[str, Entry]) -> None:
    held = sum(entry.size for entry in tensors.values())
    if any(type(count) is not int or not 0 <= count <= held for count in roles.values()):
        raise ValueError("roles has a count that is no whole number, or more than the patch holds")


def _check_card(card: Any) -> None:
    if card is None:
        return
    if not isinstance(_object(card, "card").get("settings", {}), dict):
        raise ValueError("the card's settings are no object")
