"""One family of architectures, read from its TOML file: what every tensor name means in it.

A file under ``families/`` has these entries; all but the first two are optional::

    model_types        what ``model_type`` in config.json may be
    key_bias_cancels   whether softmax drops the key bias; ``key_bias_unless`` turns it round
                       where the configuration says so
    classes            beginnings of class names in ``architectures`` of config.json
    bodies             attribute under which task models hold the body, to tell families apart
                       that share all names
    needs, never       tensors or modules of which the names alone must show one, or none
    heads              modules beside the body that belong to a head (besides the usual ones)
    buffers            tensors that no optimiser touches (besides the usual ones)
    stacks             first component -> stack, where there is more than one
    [modules]          module -> role of its ``weight`` and ``bias``
    [tensors]          tensor that is no module's weight or bias -> role
    [aliases]          old name of a module or tensor -> present one
    [head_aliases]     old name of a head -> present one
    [tied]             tensor -> tensor that it shares storage with when the model ties weights
    [figures]          name -> entries of config.json that may hold it, first one first
    [[fused]]          see :class:`~bitfit_probe.architectures.fused.Fused`
    [[experts]]        see :class:`~bitfit_probe.architectures.fused.Experts`
    experts_turned     whether tensors of all experts store inputs before outputs
    extra_layers       stack of layers beyond the number that config.json states
    [classifier]       see :class:`Classifier`
    [positions]        see :class:`Positions`
    [[model_parts]]    see :class:`ModelPart`; a family with these has no entries of its own
    inputs_first       whether linear layers store their inputs first
    tokenizer          how the usual tokenizer cuts words, where that is ``word pieces``

``{layer}`` stands for the layer's number, ``{expert}`` for the expert's, ``{n}`` and ``{m}`` for numbers that
count something else. A table inside ``[modules]``, ``[tensors]`` or ``[aliases]`` is a common beginning of
its entries.
"""

from __future__ import annotations

import json
import pkgutil
import re
from collections.abc import Iterator, Mapping
from dataclasses import field
from functools import cache, lru_cache
from typing import Any, Literal, NamedTuple, TypeVar

from bitfit_probe.architectures.fused import Experts, Fused
from bitfit_probe.architectures.names import Name, Tail, tails
from bitfit_probe.architectures.roles import NORM_ROLES
from bitfit_probe.frozen import Frozen

__all__ = [
    "Classifier",
    "Family",
    "Found",
    "ModelPart",
    "Positions",
    "composites",
    "family_names",
    "load_families",
    "load_family",
    "load_generic",
    "names_saying",
]

_Table = TypeVar("_Table")

_PLACEHOLDER = re.compile(r"\{[a-z]+\}")
#: What names mean where no family knows them.
_GENERIC = "generic"
_MODULE_LEAVES = frozenset({"weight", "bias"})
_NORM_LEAVES = _MODULE_LEAVES | {"gamma", "beta"}


class Entry(Frozen):
    """What a family says of one module or tensor."""

    role: str | None
    #: Canonical name, with placeholders.
    template: str
    #: Numbered components and placeholders of the name that the entry is found by, in order.
    numbered: tuple[str, ...]
    is_module: bool
    is_buffer: bool = False

    def read(self, numbers: list[str]) -> dict[str, str] | None:
        """Give the placeholders their numbers; None where a literal number differs."""
        if len(numbers) < len(self.numbered):
            return None
        found = {}
        for token, number in zip(reversed(self.numbered), reversed(numbers), strict=False):
            if token[0] == "{":
                found[token] = number
            elif token != number:
                return None
        return found


class Found(NamedTuple):
    """An entry that a name matches, without its first `dropped` components."""

    entry: Entry
    dropped: int
    numbers: dict[str, str]
    leaf: str | None

    @property
    def layer(self) -> int | None:
        """Number of the layer."""
        return self._number("{layer}")

    @property
    def expert(self) -> int | None:
        """Number of the expert."""
        return self._number("{expert}")

    def _number(self, token: str) -> int | None:
        number = self.numbers.get(token)
        return None if number is None else int(number)

    def fill(self, template: str) -> str:
        """Put the name's numbers into a template."""
        for token, number in self.numbers.items():
            template = template.replace(token, number)
        return template


class Classifier(Frozen):
    """The head that transformers puts on a family for the classification of texts.

    Attributes
    ----------
    layers
        Its linear layers in order, one or two; the last one has an output a class. A first one of two keeps
        the body's width h and holds h² + h parameters.
    bias
        Whether the last one has a bias.
    pooler
        The module of the body that it reads; None where it has no place for one.
    last_token
        Whether it reads the last token of a text, so that padding has to be told from it.
    """

    layers: tuple[str, ...]
    bias: bool = True
    pooler: str | None = None
    last_token: bool = False

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules beside the body that hold the layers."""
        return tuple(dict.fromkeys(layer.partition(".")[0] for layer in self.layers))


class Positions(Frozen):
    """Tables of which a text takes a row a token, so that it may be no longer than they are.

    Attributes
    ----------
    tables
        The modules that hold them.
    unused
        Rows in front of the first token's: a number, or ``padding`` for all up to that of the padding token.
    """

    tables: tuple[str, ...]
    unused: int | Literal["padding"] = 0


class ModelPart(Frozen):
    """One of several models in one checkpoint: a vision tower, a projector, a language model.

    Attributes
    ----------
    name
        What it is called: ``language_model``, ``vision_tower``, ``audio_tower``, ``projector``, ….
    holds
        The modules that are its, without what wraps the whole model; everything that no part holds belongs
        to the one part that names none.
    config
        Where in config.json its settings are, dots between the keys; the first place that is there counts.
    family
        Its family, where the settings name none that is known.
    paths
        What loaders take for each other in front of its modules: names as transformers 4 and 5 have them.
    role
        The role of its matrices and biases, for a part without layers.
    feature_layer
        The entry of config.json that says which of its hidden states are used: layers behind that one get no
        gradient, and neither do the modules in `behind`.
    behind, unused
        Modules that such an entry leaves without a gradient wherever it points, and those that the whole
        model never uses.
    """

    name: str
    holds: tuple[str, ...] = ()
    config: tuple[str, ...] = ()
    family: str | None = None
    paths: tuple[str, ...] = ()
    role: str | None = None
    feature_layer: str | None = None
    behind: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


class Family(Frozen, eq=False):
    """What is known about one family of architectures."""

    name: str
    model_types: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    bodies: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    never: frozenset[str] = frozenset()
    heads: frozenset[str] = frozenset()
    stacks: Mapping[str, str] = field(default_factory=dict)
    head_aliases: Mapping[str, str] = field(default_factory=dict)
    tied: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fused: Mapping[str, tuple[Fused, ...]] = field(default_factory=dict)
    experts: Mapping[str, Experts] = field(default_factory=dict)
    experts_turned: bool = False
    extra_layers: str | None = None
    key_bias_cancels: bool | None = None
    key_bias_unless: Mapping[str, bool | str] | None = None
    classifier: Classifier | None = None
    positions: Positions | None = None
    inputs_first: bool = False
    tokenizer: str | None = None
    model_parts: tuple[ModelPart, ...] = ()
    entries: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)

    def find(self, name: Name) -> Found | None:
        """Find the entry of a name, dropping as few leading components as possible."""
        for tail, entry in _candidates(self, name.shape):
            numbers = entry.read(name.numbers)
            if numbers is not None:
                leaf = tail.leaf if entry.is_module else None
                return Found(entry, tail.dropped, numbers, leaf)
        return None

    def at(self, tail: Tail) -> tuple[Entry, ...]:
        """Give the entries that a tail may be, whatever its numbers are."""
        entries = self.entries.get(tail.path)
        if entries is not None and not entries[0].is_module:
            return entries
        entries = self.entries.get(tail.module)
        if entries is None or not entries[0].is_module:
            return ()
        leaves = _NORM_LEAVES if entries[0].role in NORM_ROLES else _MODULE_LEAVES
        return entries if tail.leaf in leaves else ()


@lru_cache(maxsize=4096)
def _candidates(family: Family, shape: str) -> tuple[tuple[Tail, Entry], ...]:
    return tuple((tail, entry) for tail in tails(shape) for entry in family.at(tail))


def _flatten(table: Mapping[str, Any], beginning: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{beginning}{key}.")
        else:
            yield beginning + key, value


def _shape_of(pattern: str) -> tuple[str, tuple[str, ...]]:
    """Give a pattern's shape and its numbered components."""
    name = Name(_PLACEHOLDER.sub("0", pattern))
    numbered = [part for part in pattern.split(".") if part.startswith("{") or part.isdecimal()]
    return name.shape, tuple(numbered)


def _entries(table: Mapping[str, Any]) -> dict[str, tuple[Entry, ...]]:
    modules = dict(_flatten(table.get("modules", {})))
    tensors = dict(_flatten(table.get("tensors", {})))
    buffers = table.get("buffers", [])
    rows: list[tuple[str, str, str | None, bool, bool]]
    rows = [(name, name, role, True, False) for name, role in modules.items()]
    rows += [(name, name, role, False, False) for name, role in tensors.items()]
    rows += [(name, name, None, False, True) for name in buffers]
    for old, present in _flatten(table.get("aliases", {})):
        is_module = present in modules
        role_there = modules[present] if is_module else tensors[present]
        rows.append((old, present, role_there, is_module, False))
    entries: dict[str, tuple[Entry, ...]] = {}
    for name, template, role, is_module, is_buffer in rows:
        shape, numbered = _shape_of(name)
        entry = Entry(role, template, numbered, is_module, is_buffer)
        entries[shape] = (*entries.get(shape, ()), entry)
    return entries


def _layouts(tables: list[dict[str, Any]]) -> dict[str, tuple[Fused, ...]]:
    layouts: dict[str, tuple[Fused, ...]] = {}
    for table in tables:
        tensor = table["tensor"]
        layouts[tensor] = (*layouts.get(tensor, ()), Fused.from_toml(table))
    return layouts


def _table(kind: type[_Table], table: Mapping[str, Any]) -> _Table:
    """One of the tables that are a dataclass, its lists as tuples."""
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in table.items()})


@cache
def read_tables() -> dict[str, dict[str, Any]]:
    """The content of each TOML file by its name, in alphabetical order, `_GENERIC` first.

    Read from the JSON file that `make families` makes of them, in a hundredth of the time.
    """
    tables: dict[str, dict[str, Any]] = json.loads(pkgutil.get_data(__package__, "families.json") or b"")
    return tables


@cache
def load_family(name: str) -> Family:
    """Read one family."""
    table = read_tables()[name]
    return Family(
        name=name,
        model_types=tuple(table["model_types"]),
        classes=tuple(table.get("classes", ())),
        bodies=frozenset(table.get("bodies", ())),
        needs=frozenset(_shape_of(pattern)[0] for pattern in table.get("needs", ())),
        never=frozenset(_shape_of(pattern)[0] for pattern in table.get("never", ())),
        heads=frozenset(load_generic()["heads"]).union(table.get("heads", ())),
        stacks=table.get("stacks", {}),
        head_aliases=table.get("head_aliases", {}),
        tied=table.get("tied", {}),
        figures={key: tuple(entries) for key, entries in table.get("figures", {}).items()},
        fused=_layouts(table.get("fused", [])),
        experts={row["tensor"]: Experts(tuple(row["split"].items())) for row in table.get("experts", ())},
        experts_turned=table.get("experts_turned", False),
        extra_layers=table.get("extra_layers"),
        key_bias_cancels=table.get("key_bias_cancels"),
        key_bias_unless=table.get("key_bias_unless"),
        classifier=_table(Classifier, table["classifier"]) if "classifier" in table else None,
        positions=_table(Positions, table["positions"]) if "positions" in table else None,
        inputs_first=table.get("inputs_first", False),
        tokenizer=table.get("tokenizer"),
        model_parts=tuple(_table(ModelPart, part) for part in table.get("model_parts", ())),
        entries=_entries(table),
    )


def load_generic() -> dict[str, Any]:
    """Read what names mean where no family knows them."""
    return read_tables()[_GENERIC]


def family_names() -> tuple[str, ...]:
    """The families' names, in alphabetical order."""
    return tuple(name for name in read_tables() if name != _GENERIC)


def names_saying(key: str, value: str) -> tuple[str, ...]:
    """The families whose list `key` (``model_types``, ``classes``) has `value`."""
    return tuple(name for name in family_names() if value in read_tables()[name].get(key, ()))


@cache
def load_families() -> Mapping[str, Family]:
    """Read all families, in alphabetical order."""
    return {name: load_family(name) for name in family_names()}


@cache
def composites() -> tuple[Family, ...]:
    """The families of several models in one, in alphabetical order."""
    return tuple(load_family(name) for name in family_names() if "model_parts" in read_tables()[name])
