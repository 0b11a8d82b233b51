"""A PEFT adapter in figures."""

from __future__ import annotations

from bitfit_probe.checkpoint.adapters import Adapter, NewRows, low_rank
from bitfit_probe.records import AdapterFacts

__all__ = ["facts"]


def facts(adapter: Adapter) -> AdapterFacts:
    """What the adapter is, from its configuration and its tensors."""
    rows = {name: change for name, change in adapter.altered.items() if isinstance(change, NewRows)}
    modules = {name.rpartition(".")[0] for name in adapter.altered if name not in rows}
    factors = low_rank(adapter).values()
    base, bias = adapter.config.get("base_model_name_or_path"), adapter.config.get("bias")
    return AdapterFacts(
        method=adapter.label,
        ranks=tuple(sorted({change.rank for change in factors})),
        scales=tuple(sorted({change.scale for change in factors})),
        targets=tuple(sorted({module.rpartition(".")[2] for module in modules})),
        modules=len(modules),
        bias=bias if isinstance(bias, str) else "none",
        stored=len(adapter.stored),
        incomplete=adapter.incomplete,
        misranked=dict(adapter.misranked),
        rows={name: len(change.indices) for name, change in rows.items()},
        base=base if isinstance(base, str) and base else None,
    )
