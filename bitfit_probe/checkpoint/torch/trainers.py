"""What a trainer wrote beside the weights in the same file, in words."""

from __future__ import annotations

from typing import Any

from bitfit_probe.checkpoint.torch.unpickle import Inert

__all__ = ["notes_of"]

_MOST = 12
_LONGEST = 60


def notes_of(root: Any) -> tuple[str, ...]:
    """Notes on a training checkpoint: Lightning's version, progress and hyperparameters."""
    if not isinstance(root, dict) or not isinstance(root.get("pytorch-lightning_version"), str):
        return ()
    facts = [f"Lightning {root['pytorch-lightning_version'][:_LONGEST]}"]
    facts += [f"{key} {root[key]}" for key in ("epoch", "global_step") if type(root.get(key)) is int]
    notes = [", ".join(facts)]
    given = _entries(root.get("hyper_parameters"))
    if given:
        shown = ", ".join(f"{name}={value}" for name, value in list(given.items())[:_MOST])
        notes.append(f"hyperparameters: {shown}{', …' if len(given) > _MOST else ''}")
    return tuple(notes)


def _entries(value: Any) -> dict[str, str]:
    """Plain entries of a mapping, also where a class of its own holds it."""
    entries = value.entries if isinstance(value, Inert) else value
    if not isinstance(entries, dict):
        return {}
    plain = (str, int, float, bool, type(None))
    return {
        str(key)[:_LONGEST]: str(item)[:_LONGEST]
        for key, item in entries.items()
        if isinstance(key, str) and isinstance(item, plain)
    }
