"""The same fact in two places: the step, special tokens, the number of labels, the base."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from bitfit_probe.checkpoint.tokenizer_files import ids_in
from bitfit_probe.promises.case import Case
from bitfit_probe.records.promises import Promise
from bitfit_probe.wording import join_names

__all__ = ["promises"]

_STEP = re.compile(r"checkpoint-(\d+)")
_SPECIAL = ("pad", "bos", "eos")
#: A model on the Hub: an owner and a name. Of paths to a folder nothing says which model lies there.
_ON_HUB = re.compile(r"\w[\w.-]*/\w[\w.-]*")


def promises(case: Case) -> Iterator[Promise]:
    """A promise a fact that two places state."""
    yield from _agree("the step", _steps(case), "the log and the weights may be of different saves")
    yield from _agree("the number of labels", _labels(case), "loading takes num_labels where both are there")
    yield from _agree("the base", _bases(case), "an adapter on another base than its own answers nonsense")
    if case.base is None:  # beside a base BP408 says it
        for purpose in _SPECIAL:
            loader = "answers end elsewhere" if purpose == "eos" else "texts are framed by another token"
            yield from _agree(f"the {purpose} token's id", _ids(case, purpose), loader)


def _agree(fact: str, said: Mapping[str, frozenset[str]], loader: str) -> Iterator[Promise]:
    """Values by place; two places agree where they have one in common."""
    places = [place for place, values in said.items() if values]
    if len(places) < 2:
        return
    first, *others = places
    odd = [place for place in others if not said[place] & said[first]]
    shown = [f"{join_names(sorted(said[place]))} in {place}" for place in odd]
    yield Promise(
        "facts",
        first,
        f"{fact} {join_names(sorted(said[first]))}",
        join_names(shown) if odd else f"the same in {join_names(others)}",
        "broken" if odd else "kept",
        loader=loader,
        first="which of the two was written last",
        severity="warning",
        subjects=(first, *odd),
    )


def _steps(case: Case) -> dict[str, frozenset[str]]:
    folder = _STEP.fullmatch(case.tuned.folder.name)
    state = case.tuned.trainer_state
    return {
        "the folder's name": frozenset([folder[1]] if folder else []),
        "trainer_state.json": frozenset([str(state.steps)] if state and state.steps is not None else []),
    }


def _labels(case: Case) -> dict[str, frozenset[str]]:
    count, names = case.tuned.config.get("num_labels"), case.tuned.config.get("id2label")
    return {
        "config.json: id2label": frozenset([str(len(names))] if isinstance(names, dict) and names else []),
        "config.json: num_labels": frozenset([str(count)] if type(count) is int else []),
    }


def _bases(case: Case) -> dict[str, frozenset[str]]:
    """By the last part of their names: the same model may lie in a cache. A path may agree, not disagree."""
    stated = (case.tuned.read_json("adapter_config.json") or {}).get("base_model_name_or_path")
    card = case.tuned.card.get("base_model", ())
    names = {"adapter_config.json": [stated] if isinstance(stated, str) else [], "README.md": [*card]}
    said = {place: frozenset(PurePosixPath(name).name for name in values) for place, values in names.items()}
    on_hub = all(_ON_HUB.fullmatch(name) for values in names.values() for name in values)
    return said if on_hub or said["adapter_config.json"] & said["README.md"] else {}


def _ids(case: Case, purpose: str) -> dict[str, frozenset[str]]:
    own = case.tuned.tokenizer.special_id(purpose)
    generation = case.tuned.read_json("generation_config.json") or {}
    return {
        "config.json": frozenset(map(str, ids_in(case.tuned.config, purpose))),
        "generation_config.json": frozenset(map(str, ids_in(generation, purpose))),
        "the tokenizer": frozenset([str(own)] if own is not None else []),
    }
