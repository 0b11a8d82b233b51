"""What was measured, in a terminal of any width: rankings, spectra, likeness, a run's course, its length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bitfit_probe.records.measures import Adequacy, Likeness, Ranked, Ranking, Spectrum, Trajectory
from bitfit_probe.records.report import Measured
from bitfit_probe.rendering.words import figure, plural, printable, shorten, wrap

__all__ = ["likeness_lines", "ranking_lines", "spectra_lines", "trained_enough", "trajectory_lines"]

#: Columns from which a name has room beside all figures of a row.
_ROOMY = 72
_NAME = 18


def trained_enough(adequacy: Adequacy | None, width: int) -> Iterator[str]:
    """One sentence on the length of the training; none where the verdict has said that there was none."""
    if adequacy is not None and adequacy.state != "untrained":
        state = adequacy.state.capitalize()
        yield from wrap(f"Trained enough? {state}: {'; '.join(adequacy.reasons)}.", width, "  ")


# Rankings -----------------------------------------------------------------------------------------


def ranking_lines(ranking: Ranking, width: int, top: int) -> Iterator[str]:
    """Groups of biases by how far they moved; `top` of the tensors, and all of anything else."""
    apart = [row for row in ranking.rows if row.group.no_effect and not ranking.paper]
    rows = ranking.rows[: len(ranking.rows) - len(apart)]  # those without effect stand last
    if not ranking.rows:
        yield from wrap("No biases to rank.", width)
        yield ""
        return
    limit = top if ranking.by in ("tensor", "role-layer") else len(rows)
    shown = rows[:limit]
    count = f"{len(shown)} of {plural(len(rows), 'bias', 'biases')}" if ranking.by == "tensor" else ""
    how = "in the BitFit paper's order" if ranking.paper else "those that moved most first"
    title = f"The {count} that moved most" if count else f"Biases by {ranking.by}, {how}"
    yield from wrap(title, width)
    yield _header(ranking, width)
    yield from (_row(ranking, row, width) for row in shown)
    if apart:
        yield from wrap("No effect, because softmax cancels them:", width)
        yield from (_row(ranking, row, width) for row in apart[: limit if ranking.by == "tensor" else None])
    yield from _legend([*shown, *apart], width)
    yield ""


def _header(ranking: Ranking, width: int) -> str:
    titles = [f"{'mean|Δb|':>9}"]
    if width >= _ROOMY:
        titles += [f"{'relative':>9}", f"{'BEFT':>9}", f"{'cosine':>7}"]
        titles += [f"{'shift':>9}"] if ranking.by != "tensor" else []
        titles += [f"{'Fisher':>9}"] if _has_fisher(ranking) else []
    return " ".join(titles) + f"    {'tensor' if ranking.by == 'tensor' else ranking.by}"


def _row(ranking: Ranking, row: Ranked, width: int) -> str:
    cells = [figure(row.mean_abs_delta)]
    if width >= _ROOMY:
        cells += [figure(row.relative_l2), figure(row.beft), figure(row.cosine, 7, "+.3f")]
        cells += [figure(row.mean_shift, 9, "+.1e")] if ranking.by != "tensor" else []
        cells += [figure(row.fisher)] if _has_fisher(ranking) else []
    figures = " ".join(cells)
    room = width - len(figures) - 4
    if ranking.by == "tensor":
        return f"{figures} {_mark(row)} {_end(printable(row.group.names[0]), room)}"
    return f"{figures} {_mark(row)} {shorten(printable(row.group.label), room)}"


def _end(name: str, room: int) -> str:
    """The end of a tensor's name, where role and layer stand."""
    return name if len(name) <= room else f"…{name[len(name) - room + 1 :]}"


def _has_fisher(ranking: Ranking) -> bool:
    return any(row.fisher is not None for row in ranking.rows)


def _mark(row: Ranked) -> str:
    return ("~" if row.noise_floor else " ") + ("=" if row.tied else " ")


def _legend(rows: Sequence[Ranked], width: int) -> Iterator[str]:
    marks = []
    if any(row.noise_floor for row in rows):
        marks.append("~ no more than rounding")
    if any(row.tied for row in rows):
        marks.append("= within rounding of the next one")
    if marks:
        yield from wrap(", ".join(marks), width, "  ")


# Spectra ------------------------------------------------------------------------------------------


def spectra_lines(measured: Measured, width: int, top: int) -> Iterator[str]:
    """Matrices by the size of their change, with what their singular values say."""
    found = sorted(measured.spectra, key=lambda item: -item.spectral_norm)[:top]
    merged = any(item.merge_strength is not None for item in found)
    if found:
        count = f"{len(found)} of {plural(len(measured.spectra), 'matrix', 'matrices')}"
        yield from wrap(f"Change of matrices: the {count} that were pulled hardest", width, "  ")
        yield _spectrum_header(width, merged=merged)
        yield from (_spectrum(item, width, merged=merged) for item in found)
        yield ""
    for name, why in measured.no_spectrum[:top]:
        yield from wrap(f"No singular values of {printable(name)}: {why}.", width, "  ")
    if len(measured.no_spectrum) > top:
        yield from wrap(f"Nor of {len(measured.no_spectrum) - top} more.", width)


def _spectrum_header(width: int, *, merged: bool) -> str:
    titles = [f"{'σ₁(Δ)':>9}", f"{'eff.rank':>8}"]
    if width >= _ROOMY:
        titles += [f"{'stable':>7}", f"{'r=8':>5}", f"{'of σ₁(b)':>9}", f"{'top 1%':>6}"]
    titles += [f"{'α*':>6}"] if merged else []
    return " ".join(titles) + "  matrix"


def _spectrum(item: Spectrum, width: int, *, merged: bool) -> str:
    cells = [figure(item.spectral_norm), figure(item.effective_rank, 8, ".1f")]
    if width >= _ROOMY:
        energy = dict(item.energy)
        share = item.spectral_norm / item.base_spectral_norm if item.base_spectral_norm > 0 else None
        cells += [figure(item.stable_rank, 7, ".1f"), figure(energy.get(8), 5, ".0%"), figure(share)]
        cells += [figure(item.top_row_share, 6, ".0%")]
    cells += [figure(item.merge_strength, 6, ".2f")] if merged else []
    figures = " ".join(cells)
    return f"{figures}  {shorten(printable(_matrix_name(item)), width - len(figures) - 2)}"


def _matrix_name(item: Spectrum) -> str:
    """Role and layer, which fit beside the figures, where both are known."""
    if item.role is None or item.layer is None:
        return item.name
    return " ".join(part for part in (item.stack, item.role, str(item.layer)) if part)


# Several checkpoints ------------------------------------------------------------------------------


def likeness_lines(found: Sequence[Likeness], width: int) -> Iterator[str]:
    """Which checkpoints moved alike, and the odd one out."""
    if not found:
        return
    everything, *roles = found
    yield from wrap("How alike they moved: cosine between bias deltas", width)
    count = len(everything.names)
    if 4 + 7 * count + _NAME <= width:
        yield " " * 4 + "".join(f"{number:>7}" for number in range(1, count + 1))
        for number, (name, row) in enumerate(zip(everything.names, everything.cosine, strict=True), 1):
            cells = "".join(figure(value, 7, ".3f") for value in row)
            yield f"{number:>4}{cells}  {shorten(printable(name), width - 6 - 7 * count)}"
    else:
        yield f"{'':>4}{'others':>8}"
        for number, name in enumerate(everything.names, 1):
            mean = figure(_mean_to_others(everything, number - 1), 8, ".3f")
            yield f"{number:>4}{mean}  {shorten(printable(name), width - 14)}"
    if roles:
        means = ", ".join(f"{printable(str(item.role))} {_mean(item)}" for item in roles)
        yield from wrap(f"Mean by role: {means}", width, "  ")
    yield from wrap(_odd(everything, roles), width, "  ")
    yield ""


def _mean_to_others(item: Likeness, one: int) -> float | None:
    known = [value for other, value in enumerate(item.cosine[one]) if other != one and value is not None]
    return sum(known) / len(known) if known else None


def _mean(item: Likeness) -> str:
    """Mean cosine over all pairs of checkpoints."""
    known = [mean for one in range(len(item.names)) if (mean := _mean_to_others(item, one)) is not None]
    return figure(sum(known) / len(known) if known else None, 0, ".2f")


def _odd(everything: Likeness, roles: Sequence[Likeness]) -> str:
    if len(everything.names) < 3:
        return "An odd one out takes three."
    named = [
        f"{printable(str(item.role))} {item.odd_one_out + 1}"
        for item in roles
        if item.odd_one_out is not None
    ]
    by_role = f" By role: {', '.join(named)}." if named else ""
    if everything.odd_one_out is None:
        return f"Odd one out: none.{by_role}"
    number = everything.odd_one_out
    return f"Odd one out: {number + 1}, {printable(everything.names[number])}.{by_role}"


def trajectory_lines(found: Trajectory | None, width: int) -> Iterator[str]:
    """How far each role was at each step; as many steps as fit, the first and the last among them."""
    if found is None:
        return
    label = max(map(len, (*found.roles, "role")))
    room = max((width - label - 11) // 10, 2)
    shown = _spread(len(found.steps), room)
    some = "" if len(shown) == len(found.steps) else f", {len(shown)} of {len(found.steps)} steps"
    yield from wrap(f"Bias norm ‖Δb‖ by role and step (steps: {found.steps_from}{some})", width, "  ")
    yield f"{'role':<{label}}" + "".join(f"{found.steps[i]:>10}" for i in shown) + f"{'stopped':>11}"
    order = sorted(range(len(found.roles)), key=lambda number: -found.norms[number][-1])
    for number in order:
        cells = "".join(figure(found.norms[number][i], 10) for i in shown)
        stopped = found.stopped_at[number]
        moved = any(found.moves[number])
        end = f"{stopped}" if stopped is not None else ("no" if moved else "never moved")
        yield f"{found.roles[number]:<{label}}{cells}{end:>11}"
    yield ""


def _spread(count: int, room: int) -> list[int]:
    """Indices of at most `room` of `count` things, evenly spread from first to last."""
    if count <= room:
        return list(range(count))
    return sorted({round(i * (count - 1) / (room - 1)) for i in range(room)})
