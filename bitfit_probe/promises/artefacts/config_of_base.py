"""config.json against the base's: training changes no setting that decides what is computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bitfit_probe.promises.case import Case
from bitfit_probe.promises.meanings import Meaning, is_harmless, meaning
from bitfit_probe.promises.same_settings import Known, same_settings
from bitfit_probe.records.promises import Promise

__all__ = ["promises"]

#: What classes take where config.json says nothing, where they agree on it.
_DEFAULTS = {"rope_theta": 10000.0, "rope_type": "default"}


def promises(case: Case) -> Iterator[Promise]:
    """A promise a setting that is computed with; those that differ and are not known are named together."""
    if case.base is None or not case.base.config or not case.tuned.config:
        return
    if case.base.config.get("model_type") != case.tuned.config.get("model_type"):
        return
    before, after = (_plain(side.config) for side in (case.base, case.tuned))
    yield from same_settings("config.json", before, after, Known(_meaning, _is_harmless, _DEFAULTS))


def _meaning(key: str) -> Meaning | None:
    return meaning(key.rpartition(".")[2])


def _is_harmless(key: str) -> bool:
    return is_harmless(key.rpartition(".")[2])


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with those of rotary angles where older versions of transformers wrote them."""
    plain = dict(config)
    for key in ("rope_scaling", "rope_parameters"):
        angles = plain.pop(key, None)
        if isinstance(angles, dict):
            named = {"rope_type" if name == "type" else name: value for name, value in angles.items()}
            plain |= {name: value for name, value in named.items() if name not in plain}
    return {key: _plain(value) if isinstance(value, dict) else value for key, value in plain.items()}
