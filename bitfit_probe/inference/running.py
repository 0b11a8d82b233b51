"""Running a model on a batch, and what is said when it fails."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bitfit_probe.errors import ModelError
from bitfit_probe.inference.libraries import first_line, is_panic, quietly

if TYPE_CHECKING:
    import torch

__all__ = ["Asked", "Batch", "logits_of", "running"]

#: What torch and transformers raise on a model and inputs that don't fit each other. A full disk, an
#: interruption and the errors of our own pass.
_FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class Batch:
    """Examples of similar length, padded to the longest.

    Attributes
    ----------
    rows
        Which of the data's examples they are.
    inputs
        The model's arguments, each of shape (examples, tokens).
    """

    rows: tuple[int, ...]
    inputs: Mapping[str, torch.Tensor]

    @property
    def mask(self) -> torch.Tensor:
        """Which tokens are the text's own, shape (examples, tokens); all where the model takes no mask."""
        found = self.inputs.get("attention_mask")
        return self.inputs["input_ids"].new_ones(self.inputs["input_ids"].shape) if found is None else found


@dataclass(frozen=True)
class Asked(Batch):
    """A batch with what should come out.

    Attributes
    ----------
    targets
        Class numbers (examples,), quantities (examples,), or token numbers (examples, tokens) with −100 where
        nothing is asked.
    """

    targets: torch.Tensor


@contextlib.contextmanager
def running(model: Any) -> Iterator[None]:
    """Offline and quiet, and one line for whatever stops the model.

    Raises
    ------
    ModelError
        The model can't be run on these inputs.
    """
    try:
        with quietly():
            yield
    except BaseException as error:
        if not isinstance(error, _FAILURES) and not is_panic(error):
            raise
        raise ModelError(
            f"{type(model).__name__} can't be run on the examples ({first_line(error)})",
            advice="check that tokenizer and config.json belong to these weights",
        ) from error


def logits_of(model: Any, batch: Batch) -> torch.Tensor:
    """The model's answers in float32: (examples, classes), or (examples, tokens, vocabulary).

    Raises
    ------
    ModelError
        It can't be run on these inputs.
    """
    with running(model):
        logits: torch.Tensor = model(**batch.inputs).logits
    return logits.float()
