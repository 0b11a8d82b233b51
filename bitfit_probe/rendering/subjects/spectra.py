"""What the singular values of a matrix's change say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bitfit_probe.rendering.document.blocks import Block, Chart, Column, Table, Text
from bitfit_probe.rendering.figures import figures_of, measure
from bitfit_probe.rendering.subjects.tables import columns_of, cut_table, shape_text
from bitfit_probe.rendering.words import plural

if TYPE_CHECKING:
    from bitfit_probe.records.measures import Spectrum
    from bitfit_probe.records.report import Measured
    from bitfit_probe.rendering.charts import Panel

__all__ = ["spectra_chart", "spectra_table", "top_spectra"]

_FIGURES = ("spectral_norm", "effective_rank", "stable_rank", "base_spectral_norm", "top_row_share")
_RANKS = (1, 8, 64)


def spectra_chart(key: str, spectra: Sequence[Spectrum], caption: str) -> Chart:
    """Singular values beside the share that the first of them explain."""

    def draw() -> Panel | None:
        from bitfit_probe.rendering.charts import spectra_lines

        return spectra_lines(spectra)

    return Chart(key, draw, caption)


def top_spectra(key: str, measured: Measured, top: int) -> Iterator[Block]:
    """The `top` matrices by the size of their change, and those without singular values."""
    found = measured.spectra[:0] if top <= 0 else measured.spectra
    if found:
        count = f"{min(top, len(found))} of {plural(len(found), 'matrix', 'matrices')}"
        caption = f"Change of matrices: the {count} that were pulled hardest"
        yield spectra_table(key, found, top, caption)
    for name, why in measured.no_spectrum[:top]:
        yield Text(f"No singular values of {name}: {why}.", "note")
    if len(measured.no_spectrum) > top:
        yield Text(f"Nor of {len(measured.no_spectrum) - top} more.", "note")


def spectra_table(
    key: str, spectra: Sequence[Spectrum], top: int | None = None, caption: str = "Matrices that moved"
) -> Table:
    """Ranks and norms of what matrices changed by, those that were pulled hardest first."""
    found = sorted(spectra, key=lambda item: -item.spectral_norm)[:top]
    merged = ("merge_strength",) if any(item.merge_strength is not None for item in found) else ()
    energy = measure("energy")
    columns = (
        Column("matrix", "name"),
        *(Column(measure(name).label) for name in merged),
        *columns_of(_FIGURES),
        *(Column(f"{energy.label} at {rank}", rank=3) for rank in _RANKS),
        Column("shape", "words", len(_FIGURES)),
    )
    rows = []
    for item in found:
        shares = dict(item.energy)
        explained = (energy.text(shares.get(rank)) for rank in _RANKS)
        cells = (*figures_of(item, merged), *figures_of(item, _FIGURES), *explained)
        rows.append((item.name, *cells, shape_text(item.shape)))
    return cut_table(key, caption, columns, rows)
