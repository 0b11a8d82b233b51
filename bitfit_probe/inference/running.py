"""Running a model from files: how long a text may be, and what is said when it fails."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from bitfit_probe.errors import ModelError
from bitfit_probe.inference.libraries import first_line, is_panic, quietly

__all__ = ["longest_text", "running"]

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


def longest_text(model: Any, tokenizer: Any, most: int) -> int:
    """Tokens at which texts are cut: `most`, or what the tokenizer and the model's positions allow.

    Raises
    ------
    ModelError
        The model's position table has no row to use.
    """
    config = model.config.get_text_config()
    allowed = [most, tokenizer.model_max_length]
    allowed += [getattr(config, name, None) for name in ("max_position_embeddings", "n_positions")]
    allowed = [size for size in allowed if isinstance(size, int | float) and size > 0]
    for name, module in model.named_modules():
        # RoBERTa and those made after it count positions from behind the padding index.
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            allowed.append(module.num_embeddings - module.padding_idx - 1)
    longest = int(min(allowed))
    if longest < 1:
        raise ModelError(
            "its position table has no row behind that of the padding",
            advice="check that config.json belongs to these weights",
        )
    return longest
