"""What a model for a task would hold, from the headers of its base: no model is built."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from bitfit_probe.align import unwrapped
from bitfit_probe.architectures import Architecture, Classifier, recognise
from bitfit_probe.checkpoint import Checkpoint
from bitfit_probe.records import TensorInfo

__all__ = ["Parameter", "TaskModel", "task_model"]


#: Modules that peft takes for a head's, where nothing is known of the family's.
_ANY_HEAD = ("classifier", "score")


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
    """

    architecture: Architecture
    body: tuple[Parameter, ...]
    head: int
    new: int

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules of the head, and new ones of the body, that are trained whole beside LoRA."""
        classifier = self.architecture.classifier
        if classifier is None:
            return _ANY_HEAD
        return (*filter(None, [self.new_pooler]), *classifier.modules)

    @property
    def new_pooler(self) -> str | None:
        """The body's module that the head reads and the base lacks."""
        classifier = self.architecture.classifier
        return classifier.pooler if classifier is not None and self.new else None

    @property
    def decodes(self) -> bool:
        """Whether its head scores the last token, which takes a padding token."""
        classifier = self.architecture.classifier
        return classifier is not None and classifier.last_token

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
    body = _body(architecture, shapes)
    known = architecture.classifier
    pooler = known.pooler if known is not None else None
    if known is not None and pooler is None:
        body = {name: item for name, item in body.items() if item.info.role != "pooler"}
    width = _width(tuple(body.values()))
    absent = pooler is not None and f"{pooler}.weight" not in body
    head = _head_size(known or Classifier(layers=_ANY_HEAD[:1]), width, max(classes, 1))
    return TaskModel(architecture, tuple(body.values()), head, width * width + width if absent else 0)


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


def _head_size(head: Classifier, width: int, outputs: int) -> int:
    first = width**2 + width if len(head.layers) > 1 else 0
    return first + width * outputs + (outputs if head.bias else 0)


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
