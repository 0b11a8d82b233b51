"""Which versions of what took part."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

__all__ = ["versions"]

_PACKAGES = ("bitfit-probe", "torch", "transformers", "peft", "accelerate", "numpy")


def versions() -> dict[str, str]:
    """The installed versions of Python, this package and those that it trains with."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a folder, without being installed
            continue
    return found
