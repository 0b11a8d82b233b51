"""config.json's class as transformers builds it, where that is asked for: what becomes of each name."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.errors import BitfitProbeError
from bitfit_probe.promises.case import Case
from bitfit_probe.records.promises import Promise
from bitfit_probe.wording import join_names, plural

__all__ = ["promises"]

_FIRST = "the class that training saved, and what wrote the file"


def promises(case: Case) -> Iterator[Promise]:
    """Each parameter of the class in the file, in its shape; names without a place are a note."""
    if not case.build or not case.is_model:
        return
    from bitfit_probe.inference.building import filled_class

    try:
        found = filled_class(case.tuned)
    except BitfitProbeError as error:
        yield Promise(
            "class",
            "config.json",
            "a class that can be built",
            error.what,
            "untold",
            subjects=("config.json",),
        )
        return
    expected = plural(found.parameters, "parameter")
    if not found.missing and not found.reshaped:
        yield Promise("class", found.source, expected, "all of them, in their shapes", "kept")
    if found.missing:
        yield Promise(
            "class",
            found.source,
            expected,
            f"{len(found.missing)} absent: {join_names(found.missing, 2)}",
            "broken",
            loader="loading draws them at random",
            first=_FIRST,
            subjects=found.missing,
        )
    if found.reshaped:
        name, held, built = found.reshaped[0]
        yield Promise(
            "class",
            found.source,
            f"'{name}' of {list(built)}",
            f"{list(held)}, and {plural(len(found.reshaped), 'parameter')} of other shapes in all",
            "broken",
            loader="loading stops, or draws them anew where mismatched sizes are ignored",
            first=_FIRST,
            subjects=tuple(name for name, _, _ in found.reshaped),
        )
    if found.unexpected:
        yield Promise(
            "class",
            found.source,
            "a place for each name",
            f"none for {len(found.unexpected)}: {join_names(found.unexpected, 2)}",
            "broken",
            loader="loading drops them",
            first=_FIRST,
            severity="info",
            subjects=found.unexpected,
        )
