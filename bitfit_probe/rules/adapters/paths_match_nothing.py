"""BP506."""

from __future__ import annotations

from collections.abc import Iterator

from bitfit_probe.align import TensorPair, unwrapped
from bitfit_probe.architectures import Composite
from bitfit_probe.pair import Pair
from bitfit_probe.records import Evidence, Finding
from bitfit_probe.rules.adapter_files import adapter_of
from bitfit_probe.rules.engine.rule import Rule, rule
from bitfit_probe.wording import plural

__all__ = ["paths_match_nothing"]

#: What transformers calls a model's body below a head, beside the family's own name.
_BODIES = ("model", "transformer")


@rule(
    "BP506",
    "adapter-matches-nothing",
    "error",
    needs=("comparison", "adapter"),
    explains=("BP203", "BP503", "BP505"),
    catalogue=(25,),
)
def paths_match_nothing(pair: Pair, this: Rule) -> Iterator[Finding]:
    """The paths in the adapter lead to no module of this base.

    What it means
    -------------
    The adapter was made on a model with another nesting (an extra `language_model.`, a wrapper) or another
    architecture. The last names may match while the paths do not.

    Why it matters
    --------------
    Loaders skip what they don't find: the model serves without its adapter, and nothing fails.

    How it is recognised
    --------------------
    None of the modules that the adapter changes is found in the base by its full path, the base's own prefix
    (`bert.`, `model.`, `transformer.`) and the names that transformers 4 and 5 map onto each other
    (`language_model.model.` and `model.language_model.`) aside; a warning where only some are not found.

    What to do
    ----------
    Load the adapter on the class that it was trained with, or rename its keys to the base's paths, and check
    that the outputs change.

    References
    ----------
    vllm-project/vllm#34186, vllm-project/vllm#39278
    """
    adapter = adapter_of(pair)
    lost = [item.name for item in pair.comparison.unmatched_tuned if item.name in adapter.altered]
    found = [match for match in pair.alignment.pairs if match.computed]
    moved = {match.tuned.name: where for match in found if (where := _elsewhere(match, pair)) is not None}
    if len(lost) + len(moved) == 0:
        return
    every = len(moved) == len(found)
    example = _module(next(iter([*lost, *moved])))
    where = (
        f"None of its {plural(len(lost) + len(found), 'module')} is"
        if every
        else (f"{plural(len(lost) + len(moved), 'module')} of its {len(lost) + len(found)} are not")
    )
    there = f" (the base has {_module(next(iter(moved.values())))})" if moved else ""
    yield this.finding(
        f"The adapter's paths don't match the base. {where} in it by its full path, such as "
        f"{example}{there}.",
        severity="error" if every else "warning",
        subjects=(*lost, *moved),
        evidence=(
            Evidence("unmatched_modules", len(lost) + len(moved), "modules"),
            Evidence("matched_modules", len(found) - len(moved), "modules"),
        ),
    )


def _module(name: str) -> str:
    return name.rpartition(".")[0]


def _elsewhere(match: TensorPair, pair: Pair) -> str | None:
    """The base's name of a tensor that the adapter finds under another path; None where both agree."""
    architecture = pair.alignment.architecture
    names = match.base.name, match.tuned.name
    if isinstance(architecture, Composite) and architecture.are_one(*map(unwrapped, names)):
        return None
    ours, theirs = (name.split(".") for name in names)
    while ours and theirs and ours[-1] == theirs[-1]:
        ours.pop()
        theirs.pop()
    own = {*_BODIES, architecture.family}
    # A bare encoder lacks the prefix that the same encoder has below a head.
    known = not (ours and theirs) and len(ours) + len(theirs) <= 1 and {*ours, *theirs} <= own
    return None if known else match.base.name
