"""config.json: the sizes of the matrices that the class would build."""

from __future__ import annotations

import math
from collections.abc import Iterator

from bitfit_probe.promises.case import Case
from bitfit_probe.records import TensorInfo
from bitfit_probe.records.promises import Promise
from bitfit_probe.wording import plural

__all__ = ["promises"]

#: Figures of which each side of a matrix is the product, outputs first.
_QUERIES = ("heads", "head_dim")
_SIDES = {
    "q": (_QUERIES, ("width",)),
    "k": (("kv_heads", "head_dim"), ("width",)),
    "v": (("kv_heads", "head_dim"), ("width",)),
    "m1": (("width",), _QUERIES),
    "gate": (("inner",), ("width",)),
    "m2": (("inner",), ("width",)),
    "m3": (("width",), ("inner",)),
}


def promises(case: Case) -> Iterator[Promise]:
    """Matrices of the sizes that config.json states; sizes that differ from layer to layer are not judged."""
    config = case.tuned.config
    if not case.is_model or case.architecture.known_from == "heuristics" or config.get("pruned_heads"):
        return
    matrices = [
        (name, tensor.shape, sides)
        for name, (tensor, info, _) in case.held.items()
        if len(tensor.shape) == 2
        and name.endswith(".weight")
        and ".experts." not in name
        and (sides := _expected(case, info))
    ]
    odd = [item for item in matrices if sorted(item[1]) != sorted(item[2])]
    if not matrices:
        return
    all_of_them = f"the sizes of {plural(len(matrices), 'matrix', 'matrices')}"
    if not odd:
        yield Promise("shapes", case.table, all_of_them, "all of them fit", "kept")
        return
    first, shape, wanted = odd[0]
    yield Promise(
        "shapes",
        case.table,
        f"'{first}' of {_times(wanted)}",
        f"{_times(shape)}, and {len(odd)} of {plural(len(matrices), 'matrix', 'matrices')} that don't fit",
        "broken",
        loader="loading stops on the shape, or draws them anew where mismatched sizes are ignored",
        first="config.json against the one that training wrote",
        subjects=tuple(name for name, _, _ in odd),
    )


def _expected(case: Case, info: TensorInfo) -> tuple[int, ...] | None:
    sides = _SIDES.get(info.role or "")
    if sides is None or info.stack is not None or info.layer is None or info.kind != "weight":
        return None
    products = [_product(case, side) for side in sides]
    return None if None in products else tuple(product for product in products if product)


def _times(sides: tuple[int, ...]) -> str:
    return " × ".join(f"{side:,}" for side in sides)


def _product(case: Case, figures: tuple[str, ...]) -> int | None:
    stated = [_figure(case, name) for name in figures]
    return None if None in stated else math.prod(value for value in stated if value)


def _figure(case: Case, name: str) -> int | None:
    found = case.architecture.figure(name)
    if found is not None or name != "head_dim":
        return found
    width, heads = case.architecture.figure("width"), case.architecture.figure("heads")
    return width // heads if width and heads else None
