"""Checkpoints and files by their own names: what is forwarded says nothing of the machine it was made on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import PurePosixPath
from typing import Any, TypeVar

from bitfit_probe.records import TensorDelta
from bitfit_probe.records.report import Report

__all__ = ["named", "own_names"]

T = TypeVar("T")

#: A path from the root of a disk, of Unix or Windows, with at least one folder, where a path can begin.
_ABSOLUTE = re.compile(
    r"""(?:(?<=[\s"'`(=,:\[])|^)(?:file:)?(?://)?(?:/|~/|[A-Za-z]:[\\/]|\\\\)"""
    r"""(?:[^\s"'`\\/:<>|]+[\\/])+(?P<name>[^\s"'`\\/:<>|)\],;]*)"""
)


def named(report: Report) -> Report:
    """The report with the names of checkpoints and files in place of their paths, wherever these stand."""
    paths = [report.diff.base.path, *(item.tuned.path for item in report.diff.comparisons)]
    more = [report.data, *((report.recommended.distance.model,) if report.recommended else ())]
    names = own_names([*paths, *filter(None, more)])
    return _mapped(report, _namer(names))


def own_names(paths: Iterable[str]) -> dict[str, str]:
    """For each path as few of its last parts as tell it from the others.

    >>> own_names(["runs/base", "runs/a/model.pt", "runs/b/model.pt"])["runs/b/model.pt"]
    'b/model.pt'
    """
    parts = {path: _parts(path) for path in paths}
    return {path: _own(path, parts) for path in parts}


def _parts(path: str) -> tuple[str, ...]:
    whole = path.replace("\\", "/") if re.match(r"[A-Za-z]:\\|\\\\", path) else path
    return tuple(part for part in PurePosixPath(whole).parts if part not in ("/", "//", ".", ".."))


def _own(path: str, every: Mapping[str, tuple[str, ...]]) -> str:
    ours = every[path]
    for count in range(1, len(ours) + 1):
        tail = ours[-count:]
        if sum(parts[-count:] == tail for parts in every.values()) == 1:
            return "/".join(tail)
    return "/".join(ours) or path


def _namer(names: Mapping[str, str]) -> Callable[[str], str]:
    """What replaces the known paths in a text, and cuts any other one from a disk's root to its last part."""
    known = sorted(
        (path for path in names if len(_parts(path)) > 1 or path[:1] in "/~"), key=len, reverse=True
    )
    pattern = re.compile("|".join(f"(?<![\\w.-]){re.escape(path)}(?![\\w.-])" for path in known) or r"(?!)")

    def name(text: str) -> str:
        if text in names:
            return names[text]
        if "/" not in text and "\\" not in text:
            return text
        return _ABSOLUTE.sub(r"\g<name>", pattern.sub(lambda found: names[found[0]], text))

    return name


def _mapped(value: T, change: Callable[[str], str]) -> T:
    """`value` with every text in it changed, names of tensors apart."""
    if isinstance(value, TensorDelta):
        return value
    made: Any = value
    if isinstance(value, str):
        made = change(value)
    elif isinstance(value, tuple):
        made = tuple(_mapped(item, change) for item in value)
        made = value if all(new is old for new, old in zip(made, value, strict=True)) else made
    elif isinstance(value, Mapping):
        made = {key: _mapped(item, change) for key, item in value.items()}
    elif is_dataclass(value) and not isinstance(value, type):
        found = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
        changed = {key: new for key, old in found.items() if (new := _mapped(old, change)) is not old}
        made = replace(value, **changed) if changed else value
    done: T = made
    return done
