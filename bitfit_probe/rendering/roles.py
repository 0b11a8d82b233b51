"""The BitFit paper's short names of roles, beside the ones that code uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

__all__ = ["ROLES", "role_legend"]

#: Roles by the paper's name (Ben Zaken et al. 2022, §3) and those that architectures of later years added.
ROLES: Mapping[str, str] = MappingProxyType(
    {
        "q": "attn.query",
        "k": "attn.key",
        "v": "attn.value",
        "qkv": "attn.query, key and value",
        "m1": "attn.out",
        "LN1": "attn.norm",
        "m2": "mlp.up",
        "gate": "mlp.gate",
        "gate_m2": "mlp.gate and up",
        "m3": "mlp.down",
        "LN2": "mlp.norm",
        "xq": "cross.query",
        "xk": "cross.key",
        "xv": "cross.value",
        "xm1": "cross.out",
        "LNx": "cross.norm",
        "embLN": "embeddings.norm",
        "LNf": "final norm",
    }
)


def role_legend(roles: Iterable[str | None]) -> str:
    """What those of `roles` stand for that have a name of the paper's, in its order; empty where none has.

    >>> role_legend(["m2", "q", "pooler"])
    'q=attn.query, m2=mlp.up'
    """
    met = set(roles)
    return ", ".join(f"{role}={name}" for role, name in ROLES.items() if role in met)
