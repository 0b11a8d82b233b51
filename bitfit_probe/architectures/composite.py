"""Several models in one checkpoint: each part has an architecture of its own and the names that it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from functools import cached_property
from typing import Any

from bitfit_probe.architectures import heuristics
from bitfit_probe.architectures.architecture import Architecture, KnownFrom
from bitfit_probe.architectures.family import Family, ModelPart, load_family, names_saying
from bitfit_probe.architectures.names import Name
from bitfit_probe.architectures.roles import NORM_ROLES, kind_of
from bitfit_probe.records import Part, TensorInfo

__all__ = ["Composite", "compose"]

#: Components that may stand before a part: ``model.``, ``thinker.model.``.
_DEEPEST = 3


class Composite(Architecture):
    """An architecture that is made of others; a name is asked of the part that holds it."""

    #: Each part that this checkpoint has names of, with what its own names and settings show.
    _members: Mapping[ModelPart, Architecture] = field(default_factory=dict, repr=False, compare=False)

    @property
    def members(self) -> Mapping[str, Architecture]:
        """The architectures of the parts, by the parts' names."""
        return {part.name: own for part, own in self._members.items()}

    def figure(self, name: str) -> int | None:
        """Nothing: a figure is that of a part."""
        return None

    def canonical(self, name: str) -> str:
        """Give the name that the same tensor has in every checkpoint of the family, behind the part's."""
        part, start = self._holders.of(name)
        return name if part is None else f"{part.name}.{self._inner_name(part, name, start)}"

    def info(self, name: str, ndim: int) -> TensorInfo:
        """Tell where a tensor sits: its stack is the part, with the part's own stack where it has several."""
        part, _ = self._holders.of(name)
        if part is None:
            return heuristics.guess(Name(name), ndim, {})
        found = self._members[part].info(name, ndim)
        if part.role is not None and found.kind != "buffer":
            role = found.role if found.role in _KEPT_ROLES else part.role
            found = TensorInfo(role, None, None, kind_of(role, Name(name).leaf))
        return replace(found, stack=f"{part.name} {found.stack}" if found.stack else part.name)

    def parts(self, name: str, shape: tuple[int, ...]) -> tuple[Part, ...]:
        """Locate the parameters that a fused tensor holds."""
        part, _ = self._holders.of(name)
        return () if part is None else self._members[part].parts(name, shape)

    def split_names(self, name: str) -> dict[str, str]:
        """Give the names that the parts of a fused tensor have where they are stored alone."""
        part, _ = self._holders.of(name)
        split = {} if part is None else self._members[part].split_names(name)
        return {role: f"{part.name}.{stored}" for role, stored in split.items() if part is not None}

    def experts_inputs_first(self, name: str) -> bool:
        """Whether a tensor of all experts stores inputs before outputs."""
        part, _ = self._holders.of(name)
        return part is not None and self._members[part].experts_inputs_first(name)

    def experts(self, name: str, shape: tuple[int, ...]) -> Iterator[tuple[int, Part, str]]:
        """Locate the matrices of each expert in a tensor that holds those of all."""
        part, _ = self._holders.of(name)
        if part is not None:
            for expert, where, stored in self._members[part].experts(name, shape):
                yield expert, where, f"{part.name}.{stored}"

    def tied_to(self, name: str) -> str | None:
        """Name the tensor that shares its storage with this one when the model ties weights."""
        part, _ = self._holders.of(name)
        tied = None if part is None else self._members[part].tied_to(name)
        return None if part is None or tied is None else f"{part.name}.{tied}"

    def are_one(self, name: str, other: str) -> bool:
        """Whether loaders take one name for the other: spellings of transformers 4 and 5."""
        part, _ = self._holders.of(name)
        paths = () if part is None else tuple(f"{path}." for path in part.paths)
        return _behind(name, paths) == _behind(other, paths)

    def without_gradient(self, names: Iterable[str]) -> dict[str, str]:
        """Tell which tensors no loss can move, since features are taken from before them.

        Returns
        -------
        dict
            Name to why: the setting, such as ``vision_feature_layer -2``, or the module.
        """
        held: dict[ModelPart, list[str]] = {}
        for name in names:
            part, _ = self._holders.of(name)
            if part is not None and (part.feature_layer is not None or part.unused):
                held.setdefault(part, []).append(name)
        return {name: why for part, own in held.items() for name, why in self._behind_features(part, own)}

    def _behind_features(self, part: ModelPart, names: Sequence[str]) -> Iterator[tuple[str, str]]:
        own = self._members[part]
        layers = {name: own.info(name, 2).layer for name in names}
        depth = 1 + max((layer for layer in layers.values() if layer is not None), default=-1)
        said = self._config.get(part.feature_layer or "")
        # Hidden states are counted from the embeddings on: number n is what layer n - 1 gives.
        states = [state if state >= 0 else depth + 1 + state for state in _whole_numbers(said)]
        for name, layer in layers.items():
            module = own.canonical(name).partition(".")[0]
            if module in part.unused:
                yield name, f"features from before its {module}"
            elif states and (module in part.behind or (layer is not None and layer >= max(states))):
                yield name, f"{part.feature_layer} {said}"

    def around(self, names: Iterable[str], alone: Architecture, others: Iterable[str]) -> Composite:
        """Take `alone`, the architecture of one model with the names `others`, for a part of this one.

        Parameters
        ----------
        names
            This checkpoint's own names: the part that shares most of them is the one.
        """
        keys = {alone.canonical(name) for name in others}
        shared = dict.fromkeys(self._members, 0)
        for name in names:
            part, start = self._holders.of(name)
            if part is not None:
                shared[part] += self._inner_name(part, name, start) in keys
        best = max(shared, key=lambda part: shared[part])
        return replace(self, known_from=alone.known_from, _members={replace(best, holds=()): alone})

    def _inner_name(self, part: ModelPart, name: str, start: int) -> str:
        own = self._members[part]
        if part.role is not None or own.family == "generic":
            return ".".join(name.split(".")[start:])
        return own.canonical(name)

    @cached_property
    def _holders(self) -> _Holders:
        return _Holders(self._members)


class _Holders:
    """Which part holds a name."""

    def __init__(self, parts: Iterable[ModelPart]) -> None:
        found = list(parts)
        self._rest = next((part for part in found if not part.holds), None)
        self._by_first: dict[str, list[tuple[list[str], ModelPart]]] = {}
        keys = [(key.split("."), part) for part in found for key in part.holds]
        for key, part in sorted(keys, key=lambda item: -len(item[0])):
            self._by_first.setdefault(key[0], []).append((key, part))

    def of(self, name: str) -> tuple[ModelPart | None, int]:
        """The part, and how many components of the name stand before what it is known by."""
        own = name.split(".")
        for start, component in enumerate(own[: _DEEPEST + 1]):
            for key, part in self._by_first.get(component, ()):
                if own[start : start + len(key)] == key:
                    return part, start + len(key) - 1
        return self._rest, 0


def compose(
    family: Family,
    names: Iterable[str],
    config: Mapping[str, Any],
    known_from: KnownFrom,
    recognise: Callable[[Iterable[str], Mapping[str, Any]], Architecture],
) -> Composite:
    """Ask each part of a family of several models for its architecture, by the names that it holds.

    Parameters
    ----------
    recognise
        What tells the architecture of one model from its names and its settings.
    """
    holders = _Holders(family.model_parts)
    held: dict[ModelPart, list[str]] = {}
    for name in names:
        part, _ = holders.of(name)
        if part is not None:
            held.setdefault(part, []).append(name)
    members = {}
    for part in family.model_parts:
        if part in held:
            names = () if part.role else held[part]
            own = recognise(names, _settings(part, config))
            members[part] = own if own.knows_any(names) else recognise(names, {})
    return Composite(family.name, known_from, "", None, family, config, frozenset(), members)


def _settings(part: ModelPart, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part's own settings, with a model type that leads to the family of one model."""
    found = next((own for place in part.config if (own := _at(config, place))), {})
    kind = found.get("model_type")
    known = next(iter(names_saying("model_types", kind)), None) if isinstance(kind, str) else None
    if part.family is None or (known is not None and not load_family(known).model_parts):
        return found
    return {**found, "model_type": next(iter(load_family(part.family).model_types))}


def _at(config: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    found: Any = config
    for key in filter(None, place.split(".")):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _behind(name: str, paths: Iterable[str]) -> str:
    return name.removeprefix(max((path for path in paths if name.startswith(path)), key=len, default=""))


def _whole_numbers(said: object) -> list[int]:
    listed = said if isinstance(said, list) else [said]
    return [number for number in listed if isinstance(number, int) and not isinstance(number, bool)]


#: Roles that tell more than that a tensor is part of what has no layers.
_KEPT_ROLES = NORM_ROLES | {"embedding"}
