"""torch and transformers, imported when they are needed and kept quiet and offline while they work."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from bitfit_probe.errors import MissingExtraError
from bitfit_probe.inference.offline import offline

__all__ = ["first_line", "is_panic", "last_line", "quietly", "torch_library", "transformers_library"]


def torch_library() -> Any:
    """The module; MissingExtraError where it is not installed."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("this needs torch", advice="pip install 'bitfit-probe[models]'") from error
    return torch


def transformers_library() -> Any:
    """The module; MissingExtraError where it is not installed."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError(
            "this needs transformers", advice="pip install 'bitfit-probe[models]'"
        ) from error
    return transformers


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """No connection, and neither progress bars nor warnings of transformers on stderr.

    What matters we say ourselves.
    """
    logging = transformers_library().utils.logging
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        with offline():
            yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


def first_line(error: BaseException) -> str:
    """How an exception's text begins, or its type where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def last_line(error: BaseException) -> str:
    """How an exception's text ends, or its type where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()[:200]


def is_panic(error: BaseException) -> bool:
    """Whether the Rust code behind a tokenizer gave up; its exception is none of Python's `Exception`."""
    return type(error).__name__ == "PanicException"
