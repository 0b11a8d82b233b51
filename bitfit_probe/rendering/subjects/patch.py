"""What a patch holds, of which base, and from which run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from bitfit_probe.rendering.document.blocks import Document, Facts
from bitfit_probe.rendering.roles import role_legend

__all__ = ["patch_document"]


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


def patch_document(manifest: _Described, path: str, size: int) -> Document:
    """A patch by its manifest, its file and that file's bytes."""
    return Document(f"{path}: {size:,} bytes", (Facts(tuple(_facts(manifest))),))


def _facts(manifest: _Described) -> Iterator[tuple[str, str]]:
    roles = ", ".join(f"{role} {count:,}" for role, count in manifest.roles.items())
    yield (
        "holds",
        f"{len(manifest.tensors)} of the fine-tuned model's {len(manifest.layout)} tensors, "
        f"{sum(manifest.roles.values()):,} parameters: {roles}",
    )
    legend = role_legend(manifest.roles)
    if legend:
        yield "", f"({legend})"
    yield "base", f"{len(manifest.base)} tensors, sha256 {manifest.base_digest[:16]}…"
    if manifest.card:
        settings = manifest.card.get("settings", {})
        yield (
            "run",
            f"{settings.get('method')}, rate {settings.get('learning_rate')}, "
            f"{manifest.card.get('steps')} steps, seed {settings.get('seed')}",
        )
