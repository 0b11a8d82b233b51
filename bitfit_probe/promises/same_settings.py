"""Settings of one file against the base's: the same, another value of known effect, or not known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from bitfit_probe.promises.meanings import Meaning
from bitfit_probe.records.promises import Promise
from bitfit_probe.wording import join_names

__all__ = ["Known", "same_settings"]

#: Names of one function.
_SAME = {"swish": "silu", "gelu_pytorch_tanh": "gelu_new", "gelu_fast": "gelu_new"}
_DEEPEST, _LONGEST = 4, 40
_ABSENT = object()


class Known(NamedTuple):
    """What is known of a file's settings, by their names with dots between the levels.

    Attributes
    ----------
    meaning
        What a setting does where it differs; None where that is not known.
    is_harmless
        Whether it may differ.
    defaults
        What loaders take where the file says nothing, by the last part of the name.
    """

    meaning: Callable[[str], Meaning | None]
    is_harmless: Callable[[str], bool]
    defaults: Mapping[str, Any] = MappingProxyType({})


def same_settings(
    file: str, before: Mapping[str, Any], after: Mapping[str, Any], known: Known
) -> Iterator[Promise]:
    """A promise a setting that is computed with; those that differ and are not known are named together."""
    ours, theirs = (dict(_flat(side, "", known)) for side in (before, after))
    unknown = []
    for key in sorted(ours.keys() | theirs.keys()):
        default = known.defaults.get(key.rpartition(".")[2], _ABSENT)
        was, now = ours.get(key, default), theirs.get(key, default)
        means = known.meaning(key)
        if known.is_harmless(key):
            continue
        if means is None or _ABSENT in (was, now):
            unknown += [] if _equal(was, now) or _says_nothing(was, now) else [key]
        else:
            yield _setting(f"{file}: {key}", was, now, means)
    if unknown:
        yield Promise(
            "settings",
            f"the base's {file}",
            "the same settings",
            f"{join_names(unknown, 6)} differ or stand in one of the two only",
            "untold",
            subjects=tuple(unknown),
        )


def _setting(place: str, before: Any, after: Any, means: Meaning) -> Promise:
    file, _, key = place.partition(": ")
    source, expected = f"the base's {file}", f"{key}={_shown(before)}"
    if _equal(before, after):
        return Promise("settings", source, expected, "the same", "kept")
    return Promise(
        "settings",
        source,
        expected,
        _shown(after),
        "broken",
        loader=f"it loads without a word and {means.does}",
        first=f"what rewrote {file} after training",
        severity=means.severity,
        subjects=(place,),
    )


def _flat(settings: Mapping[str, Any], before: str, known: Known) -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict) and before.count(".") < _DEEPEST and not known.is_harmless(before + key):
            yield from _flat(value, f"{before}{key}.", known)
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
    is_text = isinstance(value, str) and (not value or " " in value)
    text = str(value).lower() if isinstance(value, bool) else repr(value) if is_text else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
