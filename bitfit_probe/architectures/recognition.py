"""Which architecture a checkpoint has: asked of its configuration, of its names, or guessed."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

from bitfit_probe.architectures import heuristics
from bitfit_probe.architectures.architecture import Architecture, KnownFrom
from bitfit_probe.architectures.composite import compose
from bitfit_probe.architectures.family import (
    Classifier,
    Family,
    composites,
    family_names,
    load_families,
    load_family,
    load_generic,
    names_saying,
)
from bitfit_probe.architectures.fused import holds
from bitfit_probe.architectures.names import Name, Tail, tails

__all__ = ["classifiers", "families", "family_of", "recognise"]

#: Names alone settle the family when at least this share of them is the family's.
_LEAST_SHARE = 0.5

#: torch's recurrent layers: put on a body they compute features, and the head follows them.
_RECURRENT = re.compile(r"(weight|bias)_(ih|hh|hr)_l[0-9]+(_reverse)?")

#: The configuration is not believed when another family fits this many times as many names.
_FAR_BETTER = 5

#: Where the family's name ends in the name of a class: BertForMaskedLM, GPT2LMHeadModel, ….
_CLASS_END = re.compile(r"For[A-Z]|Model|LMHead|DoubleHeads|Encoder|PreTrained")

_ATTENTION_ROLES = frozenset({"q", "k", "v", "qkv"})


class _Group(NamedTuple):
    """All names of one shape: the same tensor of every layer."""

    names: list[Name]
    tails: list[Tail]


class _Explained(NamedTuple):
    """How many names are a family's, and what stands before most of those of its body."""

    body: int
    heads: int
    prefix: str

    @property
    def all(self) -> int:
        return self.body + self.heads


class _Fit(NamedTuple):
    """How well a family explains the names; the greater the better."""

    explained: int
    has_body_name: bool
    has_needs: bool
    fewer_dropped: int


def families() -> tuple[str, ...]:
    """Name the families that are known, in alphabetical order.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> "bert" in families()
    True
    """
    return family_names()


def family_of(model_type: str) -> Family | None:
    """The family of a ``model_type``; None where none has it.

    Examples
    --------
    >>> family_of("camembert").name
    'roberta'
    """
    return next(map(load_family, names_saying("model_types", model_type)), None)


@cache
def classifiers() -> tuple[Classifier, ...]:
    """What families put on their bodies to classify texts, each once."""
    found = (family.classifier for family in load_families().values())
    return tuple(dict.fromkeys(classifier for classifier in found if classifier is not None))


def recognise(names: Iterable[str], config: Mapping[str, Any] | None = None) -> Architecture:
    """Recognise the architecture of a checkpoint.

    The configuration is asked first (``model_type``, then ``architectures``, then the same of a
    nested ``text_config``), then the names; where neither knows the family, the architecture is
    ``generic`` and every place a guess. A configuration that the names contradict is not believed.

    Parameters
    ----------
    names
        The tensor names, with any constant prefix.
    config
        The content of config.json, where there is one. It may be anything that JSON can hold.

    Returns
    -------
    Architecture

    Examples
    --------
    >>> recognise(["model.bert.pooler.dense.bias"], {"model_type": "bert"}).prefix
    'model.bert.'
    """
    names = list(names)
    stated, settings = _from_config(config or {})
    composite = stated if stated is not None and stated.model_parts else None
    if stated is None:
        composite = _composite_by_names(names)
    if composite is not None:
        return compose(composite, names, settings, "names" if stated is None else "config", _one_model)
    return _one_model(names, config or {})


def _one_model(names: Iterable[str], config: Mapping[str, Any]) -> Architecture:
    """Recognise what is one model, or one part of several."""
    groups = _group(names)
    stated, settings = _from_config(config)
    explained = 0 if stated is None else _explained(stated, groups).all * _FAR_BETTER
    # No family explains more names than there are: the others need not be read.
    if stated is not None and explained >= sum(len(group.names) for group in groups.values()):
        return _architecture(stated, "config", groups, settings)
    fitting, fit = _from_names(groups)
    if stated is not None and explained >= fit.explained:
        return _architecture(stated, "config", groups, settings)
    if fitting is None:
        return _generic(groups, settings)
    found = _architecture(fitting, "names", groups, settings)
    # A foreign model type with familiar names may still treat positions in another way.
    is_foreign = stated is None and isinstance(config.get("model_type"), str)
    return replace(found, key_bias_cancels=None) if is_foreign else found


def _group(names: Iterable[str]) -> dict[str, _Group]:
    by_shape: defaultdict[str, list[Name]] = defaultdict(list)
    for text in names:
        name = Name(text)
        by_shape[name.shape].append(name)
    return {shape: _Group(same, list(tails(shape))) for shape, same in by_shape.items()}


def _from_config(config: Mapping[str, Any]) -> tuple[Family | None, Mapping[str, Any]]:
    """Give the family that a configuration states, and the part of it with the figures."""
    nested = config.get("text_config")
    for settings in (config, nested if isinstance(nested, Mapping) else {}):
        kind = settings.get("model_type")
        classes = settings.get("architectures")
        family = family_of(kind) if isinstance(kind, str) else None
        if family is None and kind is None and isinstance(classes, list | tuple):
            stems = (_CLASS_END.split(name, maxsplit=1)[0] for name in classes if _is_text(name))
            named = (name for stem in stems for name in names_saying("classes", stem))
            family = next(map(load_family, named), None)
        if family is not None:
            return family, settings
    return None, config


def _composite_by_names(names: Iterable[str]) -> Family | None:
    """Give the family of several models of which the names show what no other has."""
    needs = {need: family for family in composites() for need in family.needs}
    shapes = dict.fromkeys(Name(name).shape for name in names)
    shown = ({tail.path, tail.module} & needs.keys() for shape in shapes for tail in tails(shape))
    return next((needs[found.pop()] for found in shown if found), None)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _from_names(groups: Mapping[str, _Group]) -> tuple[Family | None, _Fit]:
    """Give the family that explains most names, if that is enough of them."""
    best, best_fit = None, _Fit(0, False, False, 0)
    shown = {end for group in groups.values() for t in group.tails for end in (t.path, t.module)}
    for family in load_families().values():
        fit = _fit(family, groups, shown)
        if fit is not None and fit > best_fit:
            best, best_fit = family, fit
    counted = sum(
        len(group.names) for group in groups.values() if not heuristics.is_usual_buffer(group.tails[-1].leaf)
    )
    if best_fit.explained < _LEAST_SHARE * counted:
        return None, _Fit(0, False, False, 0)
    return best, best_fit


def _fit(family: Family, groups: Mapping[str, _Group], shown: set[str]) -> _Fit | None:
    if shown.isdisjoint(family.entries) or not shown.isdisjoint(family.never):
        return None
    if family.needs and shown.isdisjoint(family.needs):
        return None
    explained = _explained(family, groups)
    if not explained.body:
        return None
    parents = explained.prefix.split(".")[:-1]
    has_body_name = bool(parents) and parents[-1] in family.bodies
    return _Fit(explained.all, has_body_name, bool(family.needs), -len(parents))


def _explained(family: Family, groups: Mapping[str, _Group]) -> _Explained:
    under: Counter[str] = Counter()
    others: list[str] = []
    for shape, group in groups.items():
        tail = next((tail for tail in group.tails if family.at(tail)), None)
        if tail is None:
            others.append(shape)
        else:
            under[shape[: len(shape) - len(tail.path)]] += len(group.names)
    prefix = min(under, key=lambda before: (-under[before], len(before)), default="")
    heads = sum(len(groups[shape].names) for shape in others if _is_head(family, shape, prefix))
    return _Explained(sum(under.values()), heads, prefix)


def _is_head(family: Family, shape: str, prefix: str) -> bool:
    """Tell whether a shape is a named head's, beside the body or beside one of its parents."""
    components, parents = shape.split("."), prefix.split(".")[:-1]
    for count in range(len(parents) + 1):
        if components[count : count + 1] and components[count] in family.heads:
            return True
        if components[count : count + 1] != parents[count : count + 1]:
            return False
    return False


def _architecture(
    family: Family,
    known_from: KnownFrom,
    groups: Mapping[str, _Group],
    config: Mapping[str, Any],
) -> Architecture:
    prefix = _prefix(family, groups)
    cancels = family.key_bias_cancels
    if family.key_bias_unless is not None and holds(family.key_bias_unless, config):
        cancels = not cancels
    siblings = _siblings(family, groups, prefix)
    return Architecture(family.name, known_from, prefix, cancels, family, config, siblings)


def _prefix(family: Family, groups: Mapping[str, _Group]) -> str:
    """Give what stands before most of the body's names; the shorter one of two equals."""
    under: Counter[str] = Counter()
    for group in groups.values():
        tail = next((tail for tail in group.tails if family.at(tail)), None)
        if tail is not None:
            under.update(name.head(tail.dropped) for name in group.names)
    return min(under, key=lambda prefix: (-under[prefix], len(prefix)), default="")


def _siblings(family: Family, groups: Mapping[str, _Group], prefix: str) -> frozenset[str]:
    """Name the modules beside the body that must be heads: not the family's, and no other tower."""
    parents = prefix.split(".")[:-1]
    siblings = set()
    for group in groups.values():
        if any(family.at(tail) for tail in group.tails) or _RECURRENT.fullmatch(group.names[0].leaf):
            continue
        for name in group.names:
            own = name.components
            shared = sum(1 for _ in _common(own, parents))
            if shared == len(parents) or shared + 1 >= len(own):
                continue
            if heuristics.guess(name, 2, {}).role in _ATTENTION_ROLES:
                return frozenset()
            siblings.add(".".join(own[: shared + 1]))
    return frozenset(siblings)


def _common(one: list[str], other: list[str]) -> Iterable[str]:
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            return
        yield mine


def _generic(groups: Mapping[str, _Group], config: Mapping[str, Any]) -> Architecture:
    before_numbers = [set(shape.partition(".#")[0].split(".")) for shape in groups if "#" in shape]
    stacks = {
        stack: stack
        for stack in ("encoder", "decoder")
        if any(stack in components for components in before_numbers)
    }
    heads = frozenset(load_generic()["heads"])
    family = Family("generic", heads=heads, stacks=stacks if len(stacks) > 1 else {})
    return Architecture("generic", "heuristics", "", None, family, config, frozenset())
