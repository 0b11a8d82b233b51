"""An ONNX graph as nodes and tensors: initialisers, weights in ``Constant`` nodes, and those of subgraphs.

The numbers of fields: ``onnx/onnx.proto``. ``If``, ``Loop`` and ``Scan`` hold graphs as attributes; what is
in one is called by its node, the attribute and its own name (``If_0.then_branch.w``), as branches may use one
name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from bitfit_probe.checkpoint.parsing.protobuf import Field, fields
from bitfit_probe.checkpoint.storage.tensor import File

__all__ = ["Graph", "Node", "text"]

_NODE, _INITIALISER = 1, 5
_INPUT, _OUTPUT, _NAME, _OPERATION, _ATTRIBUTE = 1, 2, 3, 4, 5
_ATTRIBUTE_NAME, _TENSOR, _SUBGRAPH = 1, 5, 6
#: Operations that hold graphs.
_NESTING = ("If", "Loop", "Scan", "SequenceMap")
_MOST_TEXT, _DEEPEST = 1 << 16, 16


@dataclass
class Node:
    """What a node is, what it reads and writes, and where its attributes are in the file."""

    name: str = ""
    operation: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    attributes: list[Field] = field(default_factory=list)


@dataclass
class Graph:
    """A graph and its subgraphs: nodes of the outer one, and where each tensor's message is, by its name.

    `constants` are tensors of ``Constant`` nodes, most of which are settings rather than weights; the name of
    an initialiser of the outer graph is None here, as its own message tells it.
    """

    nodes: list[Node] = field(default_factory=list)
    initialisers: list[tuple[str | None, Field]] = field(default_factory=list)
    constants: list[tuple[str, Field]] = field(default_factory=list)

    @classmethod
    def of(cls, file: File, message: Field) -> Graph:
        """Walk a graph.

        Raises
        ------
        ValueError
            The bytes are no message, or graphs are nested too deep.
        """
        out = cls()
        out._walk(file, message, "", 0)
        return out

    def _walk(self, file: File, message: Field, scope: str, depth: int) -> None:
        if depth > _DEEPEST:
            raise ValueError(f"graphs within graphs, more than {_DEEPEST} deep")
        for part in _parts(file, message):
            if part.number == _INITIALISER:
                self.initialisers.append((scope or None, part))
            elif part.number == _NODE:
                node = _node(file, part)
                if not scope:
                    self.nodes.append(node)
                for name, kind, inner in _held(file, node):
                    if kind == _SUBGRAPH:
                        called = node.name or (node.outputs or [node.operation])[0]
                        self._walk(file, inner, f"{scope}{called}.{name}.", depth + 1)
                    elif node.outputs:
                        self.constants.append((scope + node.outputs[0], inner))


def text(file: File, item: Field) -> str:
    """A field's bytes as text.

    Raises
    ------
    ValueError
        It is too long for a name.
    """
    if item.size > _MOST_TEXT:
        raise ValueError(f"a name of {item.size:,} bytes")
    return file.read(item.start, item.size).decode("utf-8", "replace")


def _parts(file: File, message: Field) -> Iterator[Field]:
    return fields(file, message.start, message.start + message.size)


def _node(file: File, message: Field) -> Node:
    out = Node()
    for item in _parts(file, message):
        if item.value is not None:
            continue
        if item.number == _INPUT:
            out.inputs.append(text(file, item))
        elif item.number == _OUTPUT:
            out.outputs.append(text(file, item))
        elif item.number == _NAME:
            out.name = text(file, item)
        elif item.number == _OPERATION:
            out.operation = text(file, item)
        elif item.number == _ATTRIBUTE:
            out.attributes.append(item)
    return out


def _held(file: File, node: Node) -> Iterator[tuple[str, int, Field]]:
    """The tensor of a Constant or the graphs of a branch: the attribute's name, which of both, where."""
    wanted = _TENSOR if node.operation == "Constant" else _SUBGRAPH if node.operation in _NESTING else 0
    for attribute in node.attributes if wanted else ():
        name = ""
        for item in _parts(file, attribute):
            if item.number == _ATTRIBUTE_NAME and item.value is None:
                name = text(file, item)
        for item in _parts(file, attribute):
            if item.number == wanted and item.value is None:
                yield name, wanted, item
