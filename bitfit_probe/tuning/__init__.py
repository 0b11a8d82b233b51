"""Train the biases (or LoRA, all, the head), ship what moved as a patch, and watch it happen."""

from __future__ import annotations

__all__: list[str] = []
