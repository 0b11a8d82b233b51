"""config.json against the base's: training changes no setting that decides what is computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bitfit_probe.promises.case import Case
from bitfit_probe.promises.meanings import is_harmless, meaning
from bitfit_probe.records.promises import Promise
from bitfit_probe.wording import join_names

__all__ = ["promises"]

#: Names of one function.
_SAME = {"swish": "silu", "gelu_pytorch_tanh": "gelu_new", "gelu_fast": "gelu_new"}
#: What classes take where config.json says nothing, where they agree on it.
_DEFAULTS = {"rope_theta": 10000.0, "rope_type": "default"}
_DEEPEST, _LONGEST = 4, 40
_ABSENT = object()


def promises(case: Case) -> Iterator[Promise]:
    """A promise a setting that is computed with; those that differ and are not known are named together."""
    if case.base is None or not case.base.config or not case.tuned.config:
        return
    if case.base.config.get("model_type") != case.tuned.config.get("model_type"):
        return
    ours, theirs = (dict(_flat(_plain(side.config), "")) for side in (case.base, case.tuned))
    unknown = []
    for key in sorted(ours.keys() | theirs.keys()):
        last = key.rpartition(".")[2]
        before, after = (side.get(key, _DEFAULTS.get(last, _ABSENT)) for side in (ours, theirs))
        means = meaning(last)
        if is_harmless(last):
            continue
        if means is None or _ABSENT in (before, after):
            unknown += [] if _equal(before, after) or _says_nothing(before, after) else [key]
        else:
            yield _setting(key, before, after)
    if unknown:
        yield Promise(
            "settings",
            "the base's config.json",
            "the same settings",
            f"{join_names(unknown, 6)} differ or stand in one of the two only",
            "untold",
            subjects=tuple(unknown),
        )


def _setting(key: str, before: Any, after: Any) -> Promise:
    source, expected = "the base's config.json", f"{key}={_shown(before)}"
    means = meaning(key.rpartition(".")[2])
    if _equal(before, after) or means is None:
        return Promise("settings", source, expected, "the same", "kept")
    return Promise(
        "settings",
        source,
        expected,
        f"{_shown(after)}",
        "broken",
        loader=f"it loads without a word and {means.does}",
        first="what rewrote config.json after training",
        severity=means.severity,
        subjects=(f"config.json: {key}",),
    )


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with those of rotary angles where older versions of transformers wrote them."""
    plain = dict(config)
    for key in ("rope_scaling", "rope_parameters"):
        angles = plain.pop(key, None)
        if isinstance(angles, dict):
            named = {"rope_type" if name == "type" else name: value for name, value in angles.items()}
            plain |= {name: value for name, value in named.items() if name not in plain}
    return {key: _plain(value) if isinstance(value, dict) else value for key, value in plain.items()}


def _flat(config: Mapping[str, Any], before: str) -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, dict) and before.count(".") < _DEEPEST and not is_harmless(key):
            yield from _flat(value, f"{before}{key}.")
        elif value is not None:
            yield before + key, value


def _equal(before: Any, after: Any) -> bool:
    if isinstance(before, str) and isinstance(after, str):
        return _SAME.get(before, before) == _SAME.get(after, after)
    return bool(before == after)


def _says_nothing(before: Any, after: Any) -> bool:
    """Whether one side leaves out what the other switches off."""
    return all(value is _ABSENT or value in (False, 0, "", []) for value in (before, after))


def _shown(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
