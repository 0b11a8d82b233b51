"""What a model for a task would hold, from the headers of its base: no model is built."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from bitfit_probe.align import unwrapped
from bitfit_probe.architectures import Architecture, recognise
from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.records import TensorInfo

__all__ = ["Parameter", "TaskModel", "task_model"]


@dataclass(frozen=True)
class _Head:
    """The classification head that transformers puts on a family.

    Attributes
    ----------
    modules
        Names of its modules.
    inner
        Parameters of a layer in front of the last one, in multiples of h² and h.
    bias
        Whether the last layer has one.
    """

    modules: tuple[str, ...]
    inner: tuple[int, int] = (0, 0)
    bias: bool = True


_DENSE = (1, 1)
_PLAIN = _Head(("classifier",))
_CLASSIFIER = _Head(("classifier",), _DENSE)
_SEQUENCE = _Head(("classification_head",), _DENSE)
_SCORE = _Head(("score",), bias=False)
_POOLED = _Head(("pooler", "classifier"), _DENSE)
#: By family, read off transformers 5 (`AutoModelForSequenceClassification`).
_HEADS: Mapping[str, _Head] = {
    **dict.fromkeys(("albert", "bert"), _PLAIN),
    **dict.fromkeys(("electra", "mpnet", "roberta"), _CLASSIFIER),
    **dict.fromkeys(("bart", "t5"), _SEQUENCE),
    **dict.fromkeys(("deberta", "deberta_v2"), _POOLED),
    "distilbert": _Head(("pre_classifier", "classifier"), _DENSE),
    "modernbert": _Head(("head", "classifier"), (1, 1)),  # no bias, but the scale of a norm
    "xlnet": _Head(("sequence_summary", "logits_proj"), _DENSE),
    **dict.fromkeys(
        ("bloom", "falcon", "gemma2", "gpt2", "gpt_neo", "gpt_neox", "gptj", "llama", "opt", "phi", "phi3"),
        _SCORE,
    ),
    "qwen2": _SCORE,
}
#: Where nothing is known: one layer, under either of the names that peft takes for a head's.
_UNKNOWN = _Head(("classifier", "score"))
#: Families whose classifier reads the body's pooler. Those of other families have no place for one.
_WITH_POOLER: Mapping[str, str] = {"albert": "pooler", "bert": "pooler.dense"}
#: Families whose linear layers are transformers' Conv1D, which stores the inputs first.
_INPUTS_FIRST = ("gpt2",)


@dataclass(frozen=True)
class Parameter:
    """One parameter of the body, under the family's own name for it."""

    name: str
    shape: tuple[int, ...]
    info: TensorInfo

    @property
    def size(self) -> int:
        """Its elements."""
        return math.prod(self.shape)

    @property
    def is_linear(self) -> bool:
        """Whether it is the matrix of a linear layer, which LoRA can adapt."""
        return self.info.kind == "weight" and len(self.shape) == 2 and self.name.endswith(".weight")


@dataclass(frozen=True)
class TaskModel:
    """A base with the head that a task needs.

    Attributes
    ----------
    architecture
        The base's.
    body
        Its parameters, without those that a classifier of the family has no place for.
    head
        Parameters of the head.
    new
        Parameters of the body that the base lacks (a pooler); like the head they are trained whatever
        the method.
    modules
        The modules of the head, and of the body, that are trained whole beside LoRA.
    inputs_first
        Whether linear layers store their inputs first.
    """

    architecture: Architecture
    body: tuple[Parameter, ...]
    head: int
    new: int
    modules: tuple[str, ...]
    inputs_first: bool

    @property
    def decodes(self) -> bool:
        """Whether its head scores the last token, which takes a padding token."""
        return self.modules == _SCORE.modules

    @property
    def biases(self) -> tuple[Parameter, ...]:
        """The body's biases."""
        return tuple(item for item in self.body if item.info.kind == "bias")

    @property
    def linear(self) -> tuple[Parameter, ...]:
        """Matrices of the body's linear layers."""
        return tuple(item for item in self.body if item.is_linear)


def task_model(checkpoint: Checkpoint, classes: int) -> TaskModel:
    """What `AutoModelForSequenceClassification` makes of a base.

    Parameters
    ----------
    checkpoint
        The base.
    classes
        Classes of the task; 0 for a regression, which has one output.
    """
    shapes = {unwrapped(name): tensor.shape for name, tensor in checkpoint.tensors.items()}
    architecture = recognise(shapes, checkpoint.config)
    family = architecture.family
    body = _body(architecture, shapes)
    pooler = _WITH_POOLER.get(family)
    if family in _HEADS and pooler is None:
        body = {name: item for name, item in body.items() if item.info.role != "pooler"}
    width = _width(tuple(body.values()))
    absent = pooler is not None and f"{pooler}.weight" not in body
    head = _HEADS.get(family, _UNKNOWN)
    return TaskModel(
        architecture,
        tuple(body.values()),
        _head_size(head, width, max(classes, 1)),
        width * width + width if absent else 0,
        (*((pooler,) if absent and pooler else ()), *head.modules),
        family in _INPUTS_FIRST,
    )


def _body(architecture: Architecture, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Parameter]:
    """Every parameter of the body once, without heads, buffers and second names of tied tensors."""
    found = {}
    for name, shape in shapes.items():
        info = architecture.info(name, len(shape))
        if info.kind not in ("head", "buffer"):
            found[architecture.canonical(name)] = (
                name,
                Parameter(architecture.canonical(name), shape, info),
            )
    return {key: item for key, (name, item) in found.items() if architecture.tied_to(name) not in found}


def _head_size(head: _Head, width: int, outputs: int) -> int:
    squares, lines = head.inner
    return squares * width**2 + lines * width + width * outputs + (outputs if head.bias else 0)


def _width(body: tuple[Parameter, ...]) -> int:
    """How many features the body hands to a head: what its last projection gives, or what its norms scale."""
    last = [item.shape[0] for item in body if item.info.role == "out_proj" and len(item.shape) == 2]
    if last:
        return last[0]
    norms = Counter(
        item.shape[0]
        for item in body
        if len(item.shape) == 1 and item.info.layer is not None and (item.info.role or "").startswith("LN")
    )
    if norms:
        return norms.most_common(1)[0][0]
    tables = [item.shape[-1] for item in body if item.info.kind == "embedding" and len(item.shape) == 2]
    return tables[0] if tables else 0
