"""Charts: what they draw is what the records say, as text, in any lightness, the same bytes every time."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from support import reports

from bitfit_probe.records import CheckpointInfo, Diff
from bitfit_probe.records.report import Report
from bitfit_probe.rendering import charts
from bitfit_probe.rendering.charts.canvas import LINES, sequential
from bitfit_probe.rendering.heatmap import grids, matrix_roles, scaled

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: bytes | str) -> list[str]:
    return ["".join(element.itertext()) for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


@pytest.fixture(scope="module")
def heat() -> bytes:
    return charts.to_svg(charts.heat_map(reports.comparison(4), title="runs/tuned"))


def test_the_grid_is_the_papers():
    """Rows by their total over layers; the last column is the mean of the row (closed form of `size`)."""
    (grid,) = grids(reports.comparison(4).roles)
    assert grid.roles == reports.ROLES
    assert grid.mean("q") == pytest.approx(0.6 * (1 + 1.5 / 20))
    assert grid.blocks(3) == ((0, 1), (2, 3))


def test_every_value_is_real_text_in_the_papers_order(heat):
    shown = texts(heat)
    cells = [f"{reports.size(role, layer) / 0.1:.2f}" for role in reports.ROLES for layer in range(4)]
    numbers = [text for text in shown if re.fullmatch(r"\d\.\d\d", text)]
    assert numbers[:32] == cells
    assert [text for text in shown if text.split(" ")[0] in reports.ROLES][:8] == [
        *reports.ROLES[:-1],
        "k (no effect)",
    ]
    assert "mean|Δ| of biases, in units of 10⁻¹" in shown


@pytest.mark.parametrize(("layers", "stacks"), [(17, (None,)), (24, (None,)), (48, ("encoder", "decoder"))])
def test_every_layer_of_every_stack_is_there_once(layers, stacks):
    shown = texts(charts.to_svg(charts.heat_map(reports.comparison(layers, stacks=stacks))))
    headers = [int(text) for text in shown if text.isdigit()]
    for number in range(3, layers):  # 0, 1 and 2 may stand at the colour scale too
        assert headers.count(number) == len(stacks)
    assert shown.count("mean") == len(stacks)


def test_what_did_not_move_has_a_dot_and_no_colour():
    one = reports.comparison(2)
    roles = tuple(
        replace(role, moved=0, mean_abs_delta=0.0) if role.role == "v" else role for role in one.roles
    )
    shown = texts(charts.to_svg(charts.heat_map(replace(one, roles=roles))))
    assert shown.count("·") == 2
    assert charts.heat_map(replace(one, roles=())) is None  # no matrix moved either


def test_matrices_stand_in_where_no_bias_moved():
    one = reports.comparison(2)
    rows = tuple(reports.tensor(f"l.{i}.q.weight", "q", i, "weight", 0.25) for i in range(2))
    panel = charts.heat_map(replace(one, roles=(), tensors=rows))
    assert "mean|Δ| of matrices" in panel.words
    assert [scaled(role, -1) for role in matrix_roles(replace(one, tensors=rows))] == ["2.50", "2.50"]


def test_ranking_bars_say_what_is_noise_or_without_effect():
    shown = texts(charts.to_svg(charts.ranking_bars(reports.ranking(), reports.reverting())))
    assert {"k (no effect)", "LN1 (tie)", "BEFT", "Fisher", "loss when reverted"} <= set(shown)


def test_the_interval_is_drawn_to_scale():
    """The longest whisker spans the interval of the group that matters most, in proportion to the others."""
    svg = charts.to_inline_svg("r", charts.ranking_bars(reports.ranking(), reports.reverting()))
    spans = [
        abs(float(found[2]) - float(found[1]))
        for found in re.finditer(r'd="M ([\d.]+) [\d.]+ L ([\d.]+) [\d.]+" clip-path[^>]+class="s-ink"', svg)
    ]
    whiskers = sorted((span for span in spans if span > 0), reverse=True)
    widths = sorted(
        (row.loss_interval[1] - row.loss_interval[0] for row in reports.reverting().rows), reverse=True
    )
    assert len(whiskers) == len(widths)
    assert whiskers[1] / whiskers[0] == pytest.approx(widths[1] / widths[0], abs=0.01)


def test_the_other_charts_name_what_they_draw():
    report = reports.full_report()
    shown = texts(charts.to_svg(charts.trajectory_lines(report.trajectory)))
    assert set(reports.ROLES) <= set(shown)
    shown = texts(charts.to_svg(charts.spectra_lines(report.measured[0].spectra)))
    assert {"q 0", "m2 2", "10⁻³"} <= set(shown)
    shown = texts(charts.to_svg(charts.likeness_matrix(report.likeness[0])))
    assert "0.85" in shown
    assert any(text.startswith("odd one out") for text in shown)


def test_many_spectra_become_one_line_a_role():
    many = [reports.spectrum(role, layer) for role in ("q", "m3") for layer in range(6)]
    shown = texts(charts.to_svg(charts.spectra_lines(many)))
    assert {"q, median of 6", "m3, median of 6"} <= set(shown)


def test_nothing_to_draw_is_no_panel():
    assert charts.spectra_lines([]) is None
    assert charts.likeness_matrix(reports.likeness(1)) is None
    assert charts.trajectory_lines(replace(reports.trajectory(), steps=(1,))) is None
    assert charts.overview(Report(Diff(CheckpointInfo("a", "x", 0, 0, 0), "generic", "heuristics"))) == ()


def test_several_checkpoints_share_a_colour_scale():
    one = reports.full_report()
    half = reports.comparison(4, path="runs/half", scale=0.5)
    panels = charts.overview(
        replace(one, diff=replace(one.diff, comparisons=(half, one.diff.comparisons[0])))
    )
    assert panels[0].title == "runs/half"
    both = [charts.to_svg(panel).decode() for panel in (panels[0], charts.heat_map(half))]
    fills = [re.findall(r"stroke-linejoin: miter|fill: (#[0-9a-f]{6})", svg) for svg in both]
    assert fills[0] != fills[1]


@pytest.mark.parametrize("write", [charts.to_svg, charts.to_png])
def test_the_same_bytes_every_time(write, heat):
    """In another process with another hash seed too."""
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "from support import reports\nfrom bitfit_probe.rendering import charts\n"
        "panel = charts.heat_map(reports.comparison(4), title='runs/tuned')\n"
        f"sys.stdout.buffer.write(charts.{write.__name__}(panel))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    here = write(charts.heat_map(reports.comparison(4), title="runs/tuned"))
    assert done.stdout == here
    if write is charts.to_svg:
        assert here == heat
        assert b"<dc:date>" not in here


def test_inline_figures_follow_the_page():
    """No style attribute or element (a strict policy blocks them), no id shared, the theme's classes."""
    panel = charts.heat_map(reports.comparison(4))
    svg = charts.to_inline_svg("a", panel)
    assert "style" not in svg
    assert "font-family" not in svg
    assert set(re.findall(r'class="(?:chart|([^"]+))"', svg)) >= {"f-ink", "s-surface"}
    ids = re.findall(r'\bid="([^"]+)"', svg)
    assert len(ids) == len(set(ids))
    assert all(identity.startswith("a-") for identity in ids)
    assert set(re.findall(r"url\(#([^)]+)\)", svg)) <= set(ids)
    assert ElementTree.fromstring(svg).get("aria-label") == panel.words


EVIL = ["$x_1$ and $\\frac{1}{0}$", "</svg><script>alert(1)</script>", "a\u202eb", "&amp;", "x" * 500, "\"'"]


@pytest.mark.parametrize("name", EVIL)
def test_names_are_text(name):
    one = replace(reports.ranking(), rows=reports.ranking().rows[:2])
    group = replace(one.rows[0].group, role=name)
    svg = charts.to_inline_svg(
        "e", charts.ranking_bars(replace(one, rows=(replace(one.rows[0], group=group),)))
    )
    root = ElementTree.fromstring(svg)
    assert {element.tag for element in root.iter()} <= {
        f"{SVG}{tag}" for tag in ("svg", "g", "defs", "path", "text", "use", "clipPath", "rect")
    }
    first = next(text for text in texts(svg) if text.startswith(name[:1]))
    assert len(first) <= 17
    assert first.isprintable()


def test_the_colour_scale_is_one_order_for_every_eye():
    """Its lightness falls all the way: in colour, in grey, and under deuteranopia (Machado et al. 2009)."""
    deuteranopia = np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
    )
    colours = sequential()(np.linspace(0, 1, 256))[:, :3]
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    for seen in (linear, np.clip(linear @ deuteranopia.T, 0, 1)):
        luminance = seen @ [0.2126, 0.7152, 0.0722]
        assert np.all(np.diff(luminance) < 1e-3)
        assert luminance[0] / luminance[-1] > 8


def test_line_colours_stand_out_from_paper():
    """At least 2.3 : 1 against white, and every line has a marker and a name besides."""
    for colour in LINES:
        parts = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        assert 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05) >= 2.3
