"""The diff in a terminal of any width: a sentence, roles × layers, the tensors that moved most."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

from bitfit_probe.records import Comparison, Diff, RoleDelta, Side, TensorDelta, Unmatched
from bitfit_probe.report.words import headline, plural, printable, shorten

__all__ = ["By", "diff_to_text"]

By = Literal["tensor", "role", "layer"]

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_CELL = 5
_MOST_NAMES = 4
#: Columns from which a name has room beside three figures.
_ROOMY = 60
#: 10 to a lower power is 0 in float64.
_LEAST_POWER = -307


def diff_to_text(diff: Diff, *, width: int = 80, top: int = 10, by: By | None = None) -> str:
    """The diff as text of at most `width` columns, with a line break at its end.

    Parameters
    ----------
    diff
        What to show.
    width
        Columns to use.
    top
        How many tensors to list.
    by
        Show only the list by tensor, role or layer instead of everything.
    """
    lines = [*_side("base ", diff.base, width)]
    for comparison in diff.comparisons:
        lines += [*_side("tuned", comparison.tuned, width), "", *_wrap(headline(comparison), width), ""]
        lines += _sections(comparison, width, top, by)
        lines += _unmatched(comparison, width)
        lines += _judged(diff, comparison, width)
    return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


def _sections(comparison: Comparison, width: int, top: int, by: By | None) -> Iterator[str]:
    if by is None:
        yield from _heat(comparison.roles, width)
        yield from _top(comparison.tensors, width, top)
    elif by == "tensor":
        yield from _top(comparison.tensors, width, top)
    else:
        yield from _grouped(comparison.roles, by, width, top)


def _wrap(text: str, width: int, indent: str = "") -> list[str]:
    import textwrap

    return textwrap.wrap(text, width, subsequent_indent=indent, break_on_hyphens=False)


def _side(label: str, side: Side, width: int) -> Iterator[str]:
    facts = (
        f"{side.format} · {plural(side.tensors, 'tensor')} · {plural(side.parameters, 'parameter')}"
        f" · {plural(side.biases, 'bias', 'biases')}"
    )
    yield f"{label}  {shorten(printable(side.path), width - 7)}"
    for text in (facts, *map(printable, side.notes)):
        yield from ("       " + line for line in _wrap(text, width - 7))


# Roles × layers -----------------------------------------------------------------------------------


def _heat(roles: Sequence[RoleDelta], width: int) -> Iterator[str]:
    """mean|Δb| as a table: rows by their total over layers, the last column their mean."""
    if not any(role.moved for role in roles):
        return
    peak = max(role.mean_abs_delta or 0.0 for role in roles)
    power = max(math.floor(math.log10(peak)), _LEAST_POWER) if peak > 0 else 0
    unit = "" if power == 0 else f", in units of 10{str(power).translate(_SUPERSCRIPT)}"
    rest = "" if all(role.moved for role in roles) else "  (· did not move)"
    yield from _wrap(f"Biases, mean|Δb| by role and layer{unit}{rest}", width, "  ")
    for stack in dict.fromkeys(role.stack for role in roles):
        inside = [role for role in roles if role.stack == stack and role.layer is not None]
        if stack and inside:
            yield f"{stack}"
        yield from _heat_blocks(inside, power, width)
    outside = [role for role in roles if role.layer is None]
    if outside:
        cells = (f"{_name(role)} {_cell(role, power).strip()}" for role in outside)
        yield from _wrap("outside the layers: " + ", ".join(cells), width, " " * 20)
    yield ""


def _name(role: RoleDelta) -> str:
    return f"{role.stack} {role.role}" if role.stack else role.role


def _heat_blocks(roles: Sequence[RoleDelta], power: int, width: int) -> Iterator[str]:
    if not roles:
        return
    layers = sorted({role.layer for role in roles if role.layer is not None})
    cells = {(role.role, role.layer): role for role in roles}
    names = sorted(dict.fromkeys(role.role for role in roles), key=_total(cells, layers))
    label = max(len(name) for name in (*names, "layer"))
    means = {name: _mean(cells, name, layers) for name in names}
    room = max((width - label - _CELL - 1) // _CELL, 1)
    share = -(-len(layers) // -(-len(layers) // room))  # blocks of equal length
    blocks = [layers[start : start + share] for start in range(0, len(layers), share)]
    for number, block in enumerate(blocks):
        last = number == len(blocks) - 1
        header = "".join(f"{layer:>{_CELL}}" for layer in block)
        yield f"{'layer':<{label}}{header}" + (f"{'mean':>{_CELL + 1}}" if last else "")
        for name in names:
            row = "".join(_cell(cells.get((name, layer)), power) for layer in block)
            yield f"{name:<{label}}{row}" + (f" {_number(means[name], power)}" if last else "")


def _total(cells: dict[tuple[str, int | None], RoleDelta], layers: Sequence[int]) -> Callable[[str], float]:
    def key(name: str) -> float:
        return -sum(cells[name, layer].mean_abs_delta or 0.0 for layer in layers if (name, layer) in cells)

    return key


def _mean(cells: dict[tuple[str, int | None], RoleDelta], name: str, layers: Sequence[int]) -> float | None:
    known = [
        value
        for layer in layers
        if (name, layer) in cells and (value := cells[name, layer].mean_abs_delta) is not None
    ]
    return sum(known) / len(known) if known else None


def _cell(role: RoleDelta | None, power: int) -> str:
    if role is None:
        return " " * _CELL
    if not role.moved:
        return f"{'·':>{_CELL}}"
    return _number(role.mean_abs_delta, power)


def _number(value: float | None, power: int) -> str:
    return f"{'–':>{_CELL}}" if value is None else f"{value / 10**power:>{_CELL}.2f}"


# Lists --------------------------------------------------------------------------------------------


def _figure(value: float | None) -> str:
    return f"{'–':>9}" if value is None else f"{value:>9.2e}"


def _top(rows: Sequence[TensorDelta], width: int, top: int) -> Iterator[str]:
    moved = sorted(
        (row for row in rows if row.moved and row.mean_abs_delta is not None),
        key=lambda row: -(row.mean_abs_delta or 0.0),
    )
    if not moved or top <= 0:
        return
    shown = min(top, len(moved))
    yield f"The {plural(shown, 'tensor')} of {len(moved):,} that moved most"
    count = 3 if width >= _ROOMY else 1
    yield " ".join(f"{title:>9}" for title in ("mean|Δ|", "max|Δ|", "relative")[:count]) + "  tensor"
    for row in moved[:top]:
        figures = " ".join(map(_figure, (row.mean_abs_delta, row.max_abs_delta, row.relative_l2)[:count]))
        name = printable(row.name) + (f" [{row.part}]" if row.part else "")
        yield f"{figures}  {shorten(name, width - 10 * count - 1)}"
    yield ""


def _grouped(roles: Sequence[RoleDelta], by: Literal["role", "layer"], width: int, top: int) -> Iterator[str]:
    """Biases by role or by layer, those that moved most first; each tensor weighs the same."""
    groups: dict[str, list[RoleDelta]] = {}
    for role in roles:
        label = role.role if by == "role" else _layer(role)
        groups.setdefault(label, []).append(role)
    means = {label: _average(group) for label, group in groups.items()}
    room = min(max((len(label) for label in groups), default=0) + 5, width - 30)
    yield f"{by:<{room}} {'moved':>9} {'mean|Δb|':>9} {'max|Δb|':>9}"
    for label in sorted(groups, key=lambda label: -(means[label] or 0.0))[: top or None]:
        group = groups[label]
        moved, total = sum(role.moved for role in group), sum(role.tensors for role in group)
        peak = max((role.max_abs_delta for role in group if role.max_abs_delta is not None), default=None)
        share = f"{moved}/{total}"
        yield f"{shorten(label, room):<{room}} {share:>9} {_figure(means[label])} {_figure(peak)}"
    yield ""


def _average(group: Iterable[RoleDelta]) -> float | None:
    known = [role.mean_abs_delta for role in group if role.mean_abs_delta is not None]
    return sum(known) / len(known) if known else None


def _layer(role: RoleDelta) -> str:
    number = "outside" if role.layer is None else str(role.layer)
    return f"{role.stack} {number}" if role.stack else number


# What was left out --------------------------------------------------------------------------------

_WHY = {
    "absent": "has no partner",
    "shape": "has another shape",
    "tied": "tied to an embedding",
    "rows": "has more rows",
}


def _unmatched(comparison: Comparison, width: int) -> Iterator[str]:
    for label, items in (
        ("Only in the base", comparison.unmatched_base),
        ("Only in the tuned", comparison.unmatched_tuned),
    ):
        for why in dict.fromkeys(item.why for item in items):
            yield from _wrap(_names(label, why, [item for item in items if item.why == why]), width, "  ")


def _names(label: str, why: str, items: Sequence[Unmatched]) -> str:
    shown = ", ".join(printable(item.name) for item in items[:_MOST_NAMES])
    rest = f" and {len(items) - _MOST_NAMES} more" if len(items) > _MOST_NAMES else ""
    reason = "" if why == "absent" else f", {_WHY[why]}"
    return f"{label} ({len(items)}{reason}): {shown}{rest}"


def _judged(diff: Diff, comparison: Comparison, width: int) -> Iterator[str]:
    counts = comparison.summary.judged_by
    ways = [
        f"{plural(counts[how], 'tensor')} {words}"
        for how, words in (
            ("compared", "compared by their bytes"),
            ("checksum", "taken as equal by checksum"),
            ("not-in-file", "not in the file and so the base's own"),
            ("not-checked", "not checked"),
        )
        if counts.get(how)
    ]
    known = {"config": "config.json", "names": "tensor names", "heuristics": "name heuristics only"}
    source = known[diff.architecture_known_from]
    sentence = f"Judged: {', '.join(ways)}; architecture {diff.architecture} from {source}."
    yield from _wrap(sentence, width, "  ")
    for note in comparison.notes:
        yield from _wrap(f"Names: {printable(note)}.", width, "  ")
    yield ""
