"""Offline while a model is loaded or run: neither a request nor a token, whatever a file names.

Settings that name a source don't reach transformers at all (`settings`); this holds for what nobody thought
of. It ends with the work, so that an address which the user names can still be read (`checkpoint.remote`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

__all__ = ["offline"]

#: Read by huggingface_hub when it is imported, by peft, kernels and child processes when they need it.
_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_IMPLICIT_TOKEN")
_CONSTANTS = ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_IMPLICIT_TOKEN")


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Have huggingface_hub refuse every request, and all that goes through it."""
    # Imported before the variables are set: its constants then tell what the user wants, and are put back.
    from huggingface_hub import constants

    variables = {name: os.environ.get(name) for name in _VARIABLES}
    settings = {name: getattr(constants, name) for name in _CONSTANTS}
    os.environ.update(dict.fromkeys(_VARIABLES, "1"))
    for name in _CONSTANTS:
        setattr(constants, name, True)
    try:
        yield
    finally:
        for name, value in settings.items():
            setattr(constants, name, value)
        for name, text in variables.items():
            if text is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = text
