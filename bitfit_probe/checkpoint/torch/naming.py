"""How files of ``torch.save`` are called, in whichever of its containers."""

from __future__ import annotations

from bitfit_probe.checkpoint.registry import INDEX_END, Naming

__all__ = ["NAMING"]

#: Behind safetensors, as in transformers; a single file wins over shards.
NAMING = Naming(
    suffixes=(".pt", ".pth", ".bin", ".ckpt"),
    standard=("pytorch_model.bin", f"pytorch_model.bin{INDEX_END}"),
    adapters=("adapter_model.bin",),
    priority=1,
)
