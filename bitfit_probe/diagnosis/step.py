"""What a step is: something that may make the model better, tried on the examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitfit_probe.diagnosis.outcomes import Outcome

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Rows = npt.NDArray[np.int64]

__all__ = ["Change", "Step"]


@dataclass(frozen=True)
class Change:
    """What doing a step for good changes in a copy of the tuned folder.

    Attributes
    ----------
    tensors
        New values, by the model's name of the parameter.
    config, tokenizer_config
        Settings of config.json and tokenizer_config.json.
    tokenizer
        The folder whose tokenizer files take the place of the model's own.
    """

    tensors: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    tokenizer_config: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: Path | None = None


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes
    ----------
    name, title
        ``refit-head``, and an order: *Refit the head*.
    how
        What is done for good, in a sentence.
    look
        What the model would make of these rows of the examples (None: all).
    stored
        Numbers that doing it for good adds or changes.
    fitted
        Whether something is fitted, so that it needs all rows at once.
    passes
        Whether trying it costs a pass of the model.
    change
        What it changes in the files; None where files can't hold it.
    in_code
        Whether it takes another class of the model: shown, but advised only where nothing else helps.
    """

    name: str
    title: str
    how: str
    look: Callable[[Rows | None], Outcome]
    stored: int = 0
    fitted: bool = False
    passes: bool = True
    change: Callable[[], Change] | None = None
    in_code: bool = False
