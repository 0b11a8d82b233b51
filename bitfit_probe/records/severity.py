"""How bad something is for whoever uses the model."""

from __future__ import annotations

from typing import Literal

__all__ = ["Severity"]

Severity = Literal["error", "warning", "info"]
