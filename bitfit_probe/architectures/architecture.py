"""The architecture of one checkpoint: a family, seen through the checkpoint's own names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from functools import cached_property
from typing import Any, Literal

from bitfit_probe.architectures import heuristics
from bitfit_probe.architectures.family import Classifier, Family, Found, Positions, load_generic
from bitfit_probe.architectures.fused import Fused, figure, holds
from bitfit_probe.architectures.names import Name, looks_like_norm, modern_leaf
from bitfit_probe.architectures.patterns import Patterns
from bitfit_probe.architectures.roles import kind_of
from bitfit_probe.frozen import Frozen
from bitfit_probe.records import Part, TensorInfo

__all__ = ["Architecture", "KnownFrom"]

#: What an architecture was recognised by.
KnownFrom = Literal["config", "names", "heuristics"]


class Architecture(Frozen):
    """What the names of one checkpoint mean.

    Made by :func:`~bitfit_probe.architectures.recognise`.

    Attributes
    ----------
    family
        The family's name (``bert``, ``gpt2``, …), or ``generic``.
    known_from
        Whether the configuration, the names or mere heuristics say so.
    prefix
        What stands before the body's names in this checkpoint: ``bert.``, ``model.bert.``, or
        nothing. The most common one where there are several; names with another one keep it.
    key_bias_cancels
        Whether softmax drops the key bias, so that training can't move it; None where unknown.
    """

    family: str
    known_from: KnownFrom
    prefix: str
    key_bias_cancels: bool | None
    _body: Family = field(repr=False, compare=False)
    _config: Mapping[str, Any] = field(repr=False, compare=False)
    #: Modules beside the body that are heads because nothing else can stand there.
    _siblings: frozenset[str] = field(repr=False, compare=False)

    @cached_property
    def _patterns(self) -> Patterns:
        """What names are compared with below and in the heuristics, and the questions."""
        body = self._body
        entries = (entry for same in body.entries.values() for entry in same)
        numbered = (token for entry in entries for token in entry.numbered)
        texts = (self.prefix, *self._siblings, *numbered, *body.heads, *body.head_aliases, *body.stacks)
        return Patterns((*texts, *heuristics.words()), self._canonical, self._info)

    @property
    def bodies(self) -> frozenset[str]:
        """Attributes under which task models of the family hold the body; empty where none is listed."""
        return self._body.bodies

    @property
    def classifier(self) -> Classifier | None:
        """The head that transformers puts on the family to classify texts; None where it is not known."""
        return self._body.classifier

    @property
    def positions(self) -> Positions | None:
        """The tables that bound the length of a text; None where there are none, or not known."""
        return self._body.positions

    @property
    def extra_layers(self) -> str | None:
        """The stack of layers beyond the number that config.json states; None where the family has none."""
        return self._body.extra_layers

    @property
    def inputs_first(self) -> bool:
        """Whether linear layers store their inputs first, as transformers' ``Conv1D`` does."""
        return self._body.inputs_first

    def figure(self, name: str) -> int | None:
        """What config.json states of the body: ``layers``, ``encoder.layers``, ``width``, ``inner``, …."""
        keys = self._body.figures.get(name, load_generic()["figures"].get(name, ()))
        return figure(self._config, tuple(keys))

    @property
    def tied(self) -> Mapping[str, str]:
        """Canonical names of tensors, and of those whose storage they share in models that tie them."""
        return self._body.tied

    def canonical(self, name: str) -> str:
        """Give the name that the same tensor has in every checkpoint of the family.

        Parameters
        ----------
        name
            The checkpoint's own name.

        Returns
        -------
        str
            For the body the name without :attr:`prefix`, old names replaced by present ones; for
            a head its full name, without what an outer module put before body and head alike.

        Examples
        --------
        >>> from bitfit_probe.architectures import recognise
        >>> names = ["bert.encoder.layer.0.output.LayerNorm.gamma", "classifier.bias"]
        >>> [recognise(names).canonical(name) for name in names]
        ['encoder.layer.0.output.LayerNorm.weight', 'classifier.bias']
        """
        return self._patterns.canonical(name)

    def _canonical(self, name: str) -> str:
        parsed = Name(name)
        head, found = self._locate(parsed)
        if head is not None:
            first, dot, rest = head.partition(".")
            return _modern(self._body.head_aliases.get(first, first) + dot + rest)
        if found is None:
            return _modern(name.removeprefix(self.prefix))
        outer = parsed.head(found.dropped)
        outer = "" if outer == self.prefix else outer
        return outer + self._inner(found)

    def knows_any(self, names: Iterable[str]) -> bool:
        """Tell whether the family has one of the names, heads aside."""
        return any(self._body.find(Name(name)) is not None for name in names)

    def info(self, name: str, ndim: int) -> TensorInfo:
        """Tell where a tensor sits.

        Parameters
        ----------
        name
            The checkpoint's own name.
        ndim
            Number of the tensor's axes, which heuristics go by.

        Returns
        -------
        Place
            Role, layer, stack and kind; the role is None where nothing is known.

        Examples
        --------
        >>> from bitfit_probe.architectures import recognise
        >>> gpt2 = recognise(["h.0.attn.c_attn.bias", "h.0.attn.bias"])
        >>> gpt2.info("h.0.attn.c_attn.bias", 1)
        TensorInfo(role='qkv', layer=0, stack=None, kind='bias', expert=None)
        >>> gpt2.info("h.0.attn.bias", 4).kind
        'buffer'
        """
        # What counts layers has no meaning for a stand-in.
        return self._info(name, ndim) if self._body.extra_layers else self._patterns.info(name, ndim)

    def _info(self, name: str, ndim: int) -> TensorInfo:
        parsed = Name(name)
        if heuristics.is_usual_buffer(parsed.leaf):
            return heuristics.guess(parsed, ndim, self._body.stacks)
        head, found = self._locate(parsed)
        if head is not None:
            return TensorInfo("head", None, None, "head")
        if found is None:
            return heuristics.guess(parsed, ndim, self._body.stacks)
        entry = found.entry
        stack = self._body.stacks.get(entry.template.partition(".")[0])
        if self._body.extra_layers and found.layer is not None:
            layers = self.figure("layers")
            stack = self._body.extra_layers if layers is not None and found.layer >= layers else stack
        kind = "buffer" if entry.is_buffer else kind_of(entry.role, parsed.leaf)
        return TensorInfo(entry.role, found.layer, stack, kind, found.expert)

    def parts(self, name: str, shape: tuple[int, ...]) -> tuple[Part, ...]:
        """Locate the parameters that a fused tensor holds.

        Parameters
        ----------
        name
            The checkpoint's own name.
        shape
            The tensor's shape.

        Returns
        -------
        tuple of Part
            In storage order; empty where the tensor isn't fused, where the configuration lacks a
            figure that the layout needs, or where the shape contradicts it.

        Examples
        --------
        >>> from bitfit_probe.architectures import recognise
        >>> gpt2 = recognise(["h.0.attn.c_attn.weight"])
        >>> [(p.role, p.axis, p.start, p.stop)
        ...  for p in gpt2.parts("h.0.attn.c_attn.weight", (8, 24))]
        [('q', 1, 0, 8), ('k', 1, 8, 16), ('v', 1, 16, 24)]
        """
        layout = self._layout(Name(name))
        if layout is None:
            return ()
        figures = {key: figure(self._config, keys) for key, keys in self._body.figures.items()}
        return layout.cut(shape, {key: value for key, value in figures.items() if value})

    def split_names(self, name: str) -> dict[str, str]:
        """Give the names that the parts of a fused tensor have where they are stored alone.

        Parameters
        ----------
        name
            The checkpoint's own name.

        Returns
        -------
        dict
            Role to canonical name; empty where no split form is well known.

        Examples
        --------
        >>> from bitfit_probe.architectures import recognise
        >>> recognise([]).split_names("layers.0.self_attn.in_proj_bias")["k"]
        'layers.0.self_attn.k_proj.bias'
        """
        parsed = Name(name)
        found = self._body.find(parsed)
        if found is None:
            return heuristics.split_of(parsed, self.canonical(name))
        layout = self._layout(parsed)
        if layout is None or not layout.split:
            return {}
        leaf = "" if found.leaf is None else f".{found.leaf}"
        return {role: found.fill(stored) + leaf for role, stored in layout.split.items()}

    def experts_inputs_first(self, name: str) -> bool:
        """Whether a tensor of all experts stores inputs before outputs."""
        return self._body.experts_turned

    def experts(self, name: str, shape: tuple[int, ...]) -> Iterator[tuple[int, Part, str]]:
        """Locate the matrices of each expert in a tensor that holds those of all.

        Yields
        ------
        tuple
            The expert's number, where the matrix lies, and the canonical name that it has where it is stored
            alone; nothing for a tensor of another kind.

        Examples
        --------
        >>> from bitfit_probe.architectures import recognise
        >>> name = "model.layers.0.mlp.experts.down_proj"
        >>> [(part.start, stored) for _, part, stored in recognise([name]).experts(name, (2, 4, 8))]
        [(0, 'layers.0.mlp.experts.0.down_proj.weight'), (4, 'layers.0.mlp.experts.1.down_proj.weight')]
        """
        found = self._body.find(Name(name))
        layout = None if found is None else self._body.experts.get(found.entry.template)
        if found is not None and layout is not None:
            for expert, part, stored in layout.cut(shape):
                yield expert, part, found.fill(stored).replace("{expert}", str(expert))

    def tied_to(self, name: str) -> str | None:
        """Name the tensor that shares its storage with this one when the model ties weights.

        Parameters
        ----------
        name
            The checkpoint's own name.

        Returns
        -------
        str or None
            The other tensor's canonical name. Whether this model ties them, its configuration
            says (``tie_word_embeddings``).

        Examples
        --------
        >>> from bitfit_probe.architectures import recognise
        >>> recognise(["transformer.h.0.attn.c_attn.weight"]).tied_to("lm_head.weight")
        'wte.weight'
        """
        return self._body.tied.get(self.canonical(name))

    def _inner(self, found: Found) -> str:
        """Give the canonical name of a body tensor, without anything before it."""
        module = found.fill(found.entry.template)
        return module if found.leaf is None else f"{module}.{modern_leaf(found.leaf)}"

    def _layout(self, name: Name) -> Fused | None:
        found = self._body.find(name)
        if found is None:
            return heuristics.fused_of(name)
        layouts = self._body.fused.get(found.entry.template, ())
        return next((layout for layout in layouts if holds(layout.when, self._config)), None)

    def _locate(self, name: Name) -> tuple[str | None, Found | None]:
        """Give a head tensor's full name, or else what the family says of a body tensor.

        A head stands beside the body: before it stands nothing, the body's prefix, or the
        beginning of that prefix (``model.`` in ``model.bert.``).
        """
        found = self._body.find(name)
        if found is not None and name.head(found.dropped) in ("", self.prefix):
            return None, found
        for count in range(_shared(name, self.prefix), -1, -1):
            rest = name.components[count:]
            is_named = rest[0] in self._body.heads or rest[0] in self._body.head_aliases
            if len(rest) > 1 and (is_named or name.head(count) + rest[0] in self._siblings):
                return ".".join(rest), None
        return None, found


def _shared(name: Name, prefix: str) -> int:
    """Count the leading components that a name shares with a prefix."""
    count = 0
    for own, other in zip(name.components, prefix.split(".")[:-1], strict=False):
        if own != other:
            break
        count += 1
    return min(count, len(name.components) - 1)


def _modern(name: str) -> str:
    """Rename gamma and beta inside norms, and only there."""
    module, dot, leaf = name.rpartition(".")
    if not looks_like_norm(module.rpartition(".")[2]):
        return name
    return module + dot + modern_leaf(leaf)
