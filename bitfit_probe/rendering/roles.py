"""What the BitFit paper's short names of roles stand for, in plain words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

__all__ = ["ROLES", "role_legend", "role_words"]

#: Roles by the paper's name (Ben Zaken et al. 2022, §3) and those that architectures of later years added.
ROLES: Mapping[str, str] = MappingProxyType(
    {
        "q": "query",
        "k": "key",
        "v": "value",
        "qkv": "query, key and value",
        "m1": "attention out",
        "LN1": "attention norm",
        "m2": "MLP up",
        "gate": "MLP gate",
        "gate_m2": "MLP gate and up",
        "m3": "MLP down",
        "LN2": "MLP norm",
        "xq": "cross-attention query",
        "xk": "cross-attention key",
        "xv": "cross-attention value",
        "xm1": "cross-attention out",
        "LNx": "cross-attention norm",
        "embLN": "embedding norm",
        "LNf": "final norm",
    }
)


def role_words(role: str) -> str:
    """What a role is, in plain words; itself where it is one.

    >>> role_words("m2"), role_words("pooler")
    ('MLP up', 'pooler')
    """
    return ROLES.get(role, role)


def role_legend(roles: Iterable[str | None]) -> str:
    """What those of `roles` stand for that have a name of the paper's, in its order; empty where none has.

    >>> role_legend(["m2", "q", "pooler"])
    'q=query, m2=MLP up'
    """
    met = set(roles)
    return ", ".join(f"{role}={name}" for role, name in ROLES.items() if role in met)
