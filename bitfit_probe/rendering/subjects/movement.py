"""What moved: two sides, roles × layers, tensors, what has no partner, how it was judged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bitfit_probe.records import CheckpointInfo, Comparison, Diff, RoleDelta, TensorDelta, Unmatched
from bitfit_probe.rendering.coverage import coverage_sentence, types_sentence
from bitfit_probe.rendering.document.blocks import Cell, Column, Heat, Table, Text
from bitfit_probe.rendering.figures import figures_of, measure
from bitfit_probe.rendering.headline import headline
from bitfit_probe.rendering.heatmap import (
    Grid,
    grids,
    in_units,
    outside,
    peak_of,
    power_of_ten,
    scaled,
    units,
)
from bitfit_probe.rendering.roles import ROLES, role_words
from bitfit_probe.rendering.subjects.tables import columns_of, cut_table, shape_text
from bitfit_probe.rendering.words import format_number, join_names, part_name, plural

__all__ = [
    "beside_layers",
    "heat_map",
    "judged",
    "loss_table",
    "side_facts",
    "tensors_table",
    "top_tensors",
    "type_facts",
    "unmatched_facts",
    "unmatched_table",
    "verdict",
]

_MOST_NAMES = 4
_FIGURES = ("mean_abs_delta", "max_abs_delta", "relative_l2", "cosine", "changed_fraction")
_FACTS = ("role", "layer", "kind", "shape", "moved")


def verdict(comparison: Comparison, *, named: bool = False) -> Text:
    """The sentence that it comes to; with the checkpoint's name where there are several."""
    return Text(headline(comparison), "verdict", (comparison.tuned.path,) if named else ())


def side_facts(label: str, side: CheckpointInfo) -> Iterator[tuple[str, str]]:
    """Where one side is and what it holds."""
    yield label, side.path
    yield (
        "",
        f"{side.format} · {plural(side.tensors, 'tensor')} · {plural(side.parameters, 'parameter')}"
        f" · {plural(side.biases, 'bias', 'biases')}",
    )
    yield from (("", note) for note in side.notes)


def type_facts(comparison: Comparison) -> Iterator[tuple[str, str]]:
    """Which element types differ between the sides."""
    if comparison.summary.retyped:
        yield "types", types_sentence(comparison.summary.retyped)


# Roles × layers -----------------------------------------------------------------------------------


def heat_map(
    key: str,
    comparison: Comparison,
    roles: Sequence[RoleDelta],
    *,
    matrices: bool = False,
    peak: float | None = None,
) -> Iterator[Heat]:
    """mean|Δ| by role and layer, one map a stack, on a scale that ends at `peak` where given."""
    top = peak_of(role for role in roles if role.layer is not None) if peak is None else peak
    power = power_of_ten(peak_of(roles) if peak is None else peak)
    of = "matrices" if matrices else "biases"
    what = f"{of.capitalize()}, {measure('mean_abs_delta').label} by role and layer"
    unit = f", {units(power)}" if power else ""
    rest = "" if all(role.moved for role in roles) else " (· did not move)"
    for at, grid in enumerate(grids(roles)):
        stack = f"{part_name(grid.stack).capitalize()}: " if grid.stack else ""
        yield Heat(
            f"{key}-{at}",
            f"{stack}{what}{unit}{rest}",
            ("role", *map(str, grid.layers), "mean"),
            tuple((role, tuple(_cells(grid, role, power, top or 1.0))) for role in grid.roles),
            format_number(top),
            tuple((role, ROLES[role]) for role in ROLES if role in grid.roles),
        )


def _cells(grid: Grid, role: str, power: int, top: float) -> Iterator[Cell | None]:
    """A role's cells and their mean; each in words, as a person hears it who can't see where it stands."""
    label = measure("mean_abs_delta").label
    for layer in grid.layers:
        found = grid.cells.get((role, layer))
        if found is None:
            yield None
            continue
        known = found.mean_abs_delta if found.moved else None
        figure = format_number(known) if found.moved else "did not move"
        share = None if known is None else known / top
        yield Cell(scaled(found, power), share, f"{role_words(role)}, layer {layer}: {label} {figure}")
    mean = grid.mean(role)
    told = f"{role_words(role)}, mean over layers: {label} {format_number(mean)}"
    yield Cell(in_units(mean, power), None if mean is None else mean / top, told)


def beside_layers(roles: Sequence[RoleDelta]) -> Iterator[Text]:
    """Roles that belong to no layer."""
    power = power_of_ten(peak_of(roles))
    cells = [
        f"{part_name(role.stack)} {role.role} {scaled(role, power)}"
        if role.stack
        else f"{role.role} {scaled(role, power)}"
        for role in outside(roles)
    ]
    if cells:
        yield Text(f"Outside the layers: {', '.join(cells)}.", "note")


# Tensors ------------------------------------------------------------------------------------------


def top_tensors(rows: Sequence[TensorDelta], top: int) -> Iterator[Table]:
    """Those that moved most, `top` of them."""
    moved = [row for row in _by_movement(rows) if row.moved and row.mean_abs_delta is not None]
    if moved and top > 0:
        shown = plural(min(top, len(moved)), "tensor")
        yield _tensors("top", f"The {shown} of {len(moved):,} that moved most", moved[:top])


def loss_table(key: str, comparison: Comparison, top: int | None = None) -> Iterator[Table]:
    """What quantising one side lost, a tensor that no training moved; `top` of them, the worst first."""
    packed = (row for row in comparison.tensors if row.moved is False and row.identical is False)
    rows = [row for row in packed if row.base_dtype != row.tuned_dtype and row.relative_l2]
    if comparison.summary.quantisation_loss is None or not rows:
        return
    rows.sort(key=lambda row: -(row.relative_l2 or 0.0))
    columns = (
        Column("tensor", "name"),
        *columns_of(("relative_l2", "max_abs_delta", "cosine")),
        Column("type", "words", 3),
    )
    cells = [
        (
            row.name,
            *figures_of(row, ("relative_l2", "max_abs_delta", "cosine")),
            f"{row.base_dtype} → {row.tuned_dtype}",
        )
        for row in rows[:top]
    ]
    shown = f", the worst {len(cells)} of {len(rows):,}" if len(cells) < len(rows) else ""
    yield cut_table(key, f"What quantising lost{shown}", columns, cells)


def tensors_table(key: str, comparison: Comparison) -> Table:
    """Every tensor, those that moved most first."""
    rows = _by_movement(comparison.tensors)
    return _tensors(key, "Every tensor, those that moved most first", rows)


def _by_movement(rows: Sequence[TensorDelta]) -> list[TensorDelta]:
    return sorted(rows, key=lambda row: (not row.moved, -(row.mean_abs_delta or 0.0)))


def _tensors(key: str, caption: str, rows: Sequence[TensorDelta]) -> Table:
    columns = (
        Column("tensor", "name"),
        *columns_of(_FIGURES),
        *(Column(title, "number" if title == "layer" else "words", len(_FIGURES)) for title in _FACTS),
    )
    return cut_table(key, caption, columns, [_tensor(row) for row in rows])


def _tensor(row: TensorDelta) -> tuple[str, ...]:
    moved = {None: "not checked", True: "yes", False: "no"}[row.moved]
    if row.moved is False and row.identical is False:
        moved = "rounding only"
    stack = f"{part_name(row.info.stack)} " if row.info.stack else ""
    return (
        row.name + (f" [{row.part}]" if row.part else ""),
        *figures_of(row, _FIGURES),
        stack + (row.info.role or "–"),
        format_number(row.info.layer),
        row.info.kind,
        shape_text(row.shape),
        moved,
    )


# What was left out --------------------------------------------------------------------------------

_WHY = {
    "absent": "",
    "shape": "another shape",
    "tied": "tied to an embedding",
    "rows": "more rows",
    "codes": "codes on one side",
}


def _sides(comparison: Comparison) -> Iterator[tuple[str, Sequence[Unmatched]]]:
    yield "base", comparison.unmatched_base
    yield "tuned", comparison.unmatched_tuned


def unmatched_facts(comparison: Comparison) -> Iterator[tuple[str, str]]:
    """Tensors without a partner by side and reason, a few by name."""
    for side, items in _sides(comparison):
        for why in dict.fromkeys(item.why for item in items):
            names = [item.name for item in items if item.why == why]
            reason = f", {_WHY[why]}" if _WHY[why] else ""
            yield f"{side} only", f"{len(names)}{reason}: {join_names(names, _MOST_NAMES)}"


def unmatched_table(key: str, comparison: Comparison) -> Table:
    """Tensors that only one side has."""
    rows = [
        (item.name, side, shape_text(item.shape), item.why)
        for side, items in _sides(comparison)
        for item in items
    ]
    columns = (Column("tensor", "name"), *(Column(title, "words") for title in ("only in", "shape", "why")))
    return cut_table(key, "Tensors without a partner", columns, rows)


_JUDGED = {
    "compared": "compared by their bytes",
    "checksum": "taken as equal by checksum",
    "not-in-file": "not in the file and so the base's own",
    "not-checked": "not checked",
}
_KNOWN = {"config": "config.json", "names": "tensor names", "heuristics": "name heuristics only"}


def judged(diff: Diff, comparison: Comparison) -> Iterator[tuple[str, str]]:
    """How tensors were judged, by which architecture, and what is odd about their names."""
    counts = comparison.summary.judged_by
    ways = [f"{plural(counts[how], 'tensor')} {words}" for how, words in _JUDGED.items() if counts.get(how)]
    if comparison.base_adapter is not None:
        updates = len(comparison.updates)
        by_values = counts["compared"] - updates
        ways = [f"{plural(updates, 'module')} by s·B·A, through the factors"] if updates else []
        ways += [f"{plural(by_values, 'tensor')} by values"] if by_values else []
        ways += [f"{plural(counts['not-checked'], 'tensor')} not checked"] if counts["not-checked"] else []
    source = _KNOWN.get(diff.architecture_known_from, diff.architecture_known_from)
    yield "judged", f"{', '.join(ways)}; architecture {diff.architecture} from {source}"
    if comparison.base_adapter is None:
        yield "", coverage_sentence(comparison.coverage)
    yield from (("names", note) for note in comparison.notes)
