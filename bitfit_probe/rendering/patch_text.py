"""A patch in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from bitfit_probe.rendering.tuned_text import below
from bitfit_probe.rendering.words import printable

__all__ = ["patch_to_text"]


class _Described(Protocol):
    """What a manifest says (`bitfit_probe.tuning.patch.Manifest`)."""

    @property
    def base_digest(self) -> str: ...
    @property
    def base(self) -> Mapping[str, Any]: ...
    @property
    def tensors(self) -> Mapping[str, Any]: ...
    @property
    def layout(self) -> Mapping[str, str | None]: ...
    @property
    def roles(self) -> Mapping[str, int]: ...
    @property
    def card(self) -> Mapping[str, Any] | None: ...


def patch_to_text(manifest: _Described, path: str, size: int) -> str:
    """What a patch holds, of which base, and from which run.

    Parameters
    ----------
    path, size
        Its file and that file's bytes.
    """
    roles = ", ".join(f"{role} {count:,}" for role, count in manifest.roles.items())
    lines = [
        f"{path}: {size:,} bytes",
        f"holds    {len(manifest.tensors)} of the tuned model's {len(manifest.layout)} tensors, "
        f"{sum(manifest.roles.values()):,} parameters: {roles}",
        f"base     {len(manifest.base)} tensors, sha256 {manifest.base_digest[:16]}…",
    ]
    if manifest.card:
        settings = manifest.card.get("settings", {})
        lines.append(
            f"run      {settings.get('method')}, rate {settings.get('learning_rate')}, "
            f"{manifest.card.get('steps')} steps, seed {settings.get('seed')}"
        )
    return "\n".join(printable(piece) for line in lines for piece in below(line)) + "\n"
