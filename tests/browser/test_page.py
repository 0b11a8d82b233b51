"""The HTML report in a real browser: silent, offline, by keyboard, without script, in the dark, on paper."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from support import reports

from bitfit_probe.rendering import report_to_html

WIDTHS = (375, 768, 1440)


@pytest.fixture(scope="session")
def pages(tmp_path_factory) -> dict[str, Path]:
    """Pages by name: every section filled, names that attack, ten thousand tensors."""
    folder = tmp_path_factory.mktemp("pages")
    made = {}
    shown = {"full": reports.full_report(6), "evil": evil(), "huge": huge(), "deep": reports.full_report(24)}
    for name, report in shown.items():
        made[name] = folder / f"{name}.html"
        made[name].write_text(report_to_html(report), encoding="utf-8")
    return made


ATTACKS = (
    "<img src=x onerror=\"document.title='owned'\">",
    "</script><script>document.title='owned'</script>",
    "\u202egnp.evil\u202c \u200f.bias",
    "x" * 500,
    "<!--<script>",
    "{{ 7 * 7 }} ${7 * 7}",
    "\"' onmouseover='document.title=1",
    "\ud800 lone surrogate",
)


def evil():
    full = reports.full_report(2)
    (one,) = full.diff.comparisons
    rows = tuple(reports.tensor(name, "q", 0) for name in ATTACKS)
    one = replace(
        one, tensors=(*rows, *one.tensors), tuned=replace(one.tuned, path=ATTACKS[0]), notes=ATTACKS
    )
    first = replace(
        full.check.findings[0], message=ATTACKS[0], advice=ATTACKS[1], subjects=ATTACKS, details=ATTACKS[2]
    )
    return replace(
        full,
        diff=replace(full.diff, comparisons=(one,), base=replace(full.diff.base, path=ATTACKS[1])),
        check=replace(full.check, findings=(first,)),
        files=tuple((name, "ab" * 32) for name in ATTACKS),
        likeness=(reports.likeness(len(ATTACKS), names=ATTACKS),),
    )


def huge():
    full = reports.full_report(4)
    (one,) = full.diff.comparisons
    rows = tuple(
        reports.tensor(f"l.{i}.bias", "q", i % 40, value=(i * 37 % 9973) / 1e4) for i in range(10_000)
    )
    return replace(full, diff=replace(full.diff, comparisons=(replace(one, tensors=rows),)))


@pytest.mark.parametrize("name", ["full", "evil", "huge"])
def test_nothing_is_fetched_and_nothing_complains(name, pages, visit):
    opened = visit(pages[name])
    opened.page.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    assert opened.complaints == []
    assert opened.requests == [pages[name].as_uri()]
    assert opened.page.evaluate("performance.getEntriesByType('resource').length") == 0


def test_the_policy_holds(pages, visit):
    """What would load or run from elsewhere is stopped by the browser, not only absent."""
    opened = visit(pages["full"])
    opened.page.evaluate(
        """() => {
            const image = new Image(); image.src = 'https://example.invalid/x.png';
            document.body.append(image);
            const script = document.createElement('script'); script.textContent = "document.title = 'ran'";
            document.body.append(script);
        }"""
    )
    opened.page.wait_for_function("document.images.length === 1")
    assert sum("Content Security Policy" in text for text in opened.complaints) == 2
    assert "ran" not in opened.page.title()


def test_the_sections_stand_in_the_order_of_a_persons_questions(pages, visit):
    titles = visit(pages["full"]).page.locator("h2").all_inner_texts()
    assert titles == [
        "How good is it?",
        "Findings",
        "What to do next",
        "Where it moved",
        "What moved, and what matters",
        "Was it trained long enough?",
        "Which checkpoints moved alike?",
        "How far is the task?",
        "How big is the change of the matrices?",
        "Every tensor",
        "How it was judged",
        "For the model card",
        "For machines",
    ]


def test_navigation_leads_there_and_opens_folds(pages, visit):
    page = visit(pages["full"]).page
    page.get_by_role("navigation").get_by_role("link", name="How it was judged").click()
    assert page.url.endswith("#judged")
    assert page.locator("#judged").evaluate("e => e.getBoundingClientRect().top < innerHeight")
    links = page.locator("a[href^='#']").evaluate_all(
        "found => found.map(e => e.getAttribute('href').slice(1))"
    )
    assert all(page.locator(f"[id='{target}']").count() == 1 for target in links)


def test_folds_open_and_close(pages, visit):
    page = visit(pages["full"]).page
    fold = page.locator("#tensors details").first
    assert not fold.locator("table").is_visible()
    fold.locator("summary").click()
    assert fold.locator("table").is_visible()
    fold.locator("summary").press("Enter")
    assert not fold.locator("table").is_visible()


def test_sorting_orders_the_figures(pages, visit):
    page = visit(pages["full"]).page
    page.locator("#tensors summary").first.click()
    table = page.locator("#tensors table").first
    head = table.get_by_role("columnheader", name="max|Δ|")
    column = head.evaluate("e => e.cellIndex")
    for direction in ("descending", "ascending"):
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == direction
        cells = table.locator(f"tbody tr > :nth-child({column + 1})").all_inner_texts()
        values = [float(cell.replace(",", "")) for cell in cells]
        assert values == sorted(values, reverse=direction == "descending")
        assert len(set(values)) > 10
    assert "ascending" in page.locator("#status").inner_text()


def test_the_filter_shows_what_has_all_words(pages, visit):
    page = visit(pages["full"]).page
    page.locator("#tensors summary").first.click()
    page.locator("#tensors").get_by_label("Filter").first.fill("layer.3 BIAS")
    names = page.locator("#tensors table").first.locator("tbody tr:visible th").all_inner_texts()
    assert sorted(names) == sorted(f"encoder.layer.3.{role}.bias" for role in reports.ROLES)


def test_a_table_is_copied_as_csv(chromium, pages):
    context = chromium.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(pages["full"].as_uri())
    page.locator("#distance summary").click()
    page.locator("#distance").get_by_role("button", name="Copy as CSV").click()
    page.get_by_role("button", name="Copied 1 row", exact=True).wait_for()
    lines = page.evaluate("navigator.clipboard.readText()").splitlines()
    context.close()
    assert lines[0] == "measure,value,interval,about,reading,source"
    assert lines[1].startswith('proxy A-distance,1.20,"[1.10, 1.30]",text,far,')


BACKGROUND = "getComputedStyle(document.body).backgroundColor"


def test_dark_follows_the_system_and_the_switch(pages, visit):
    page = visit(pages["full"], color_scheme="dark").page
    assert page.evaluate(BACKGROUND) == "rgb(20, 23, 27)"
    ink = "getComputedStyle(document.querySelector('svg .f-ink')).fill"
    assert page.evaluate(ink) == "rgb(231, 233, 236)"  # the figures' text follows
    button = page.locator("#theme")
    button.click()
    assert button.inner_text() == "Theme: light"
    assert page.evaluate(BACKGROUND) == "rgb(255, 255, 255)"
    page.reload()
    assert button.inner_text() == "Theme: light"
    button.click()
    assert (button.inner_text(), page.evaluate(BACKGROUND)) == ("Theme: dark", "rgb(20, 23, 27)")


def test_it_is_all_there_without_script(pages, visit):
    page = visit(pages["full"], java_script_enabled=False).page
    assert page.get_by_text(
        "BitFit: 48 of 48 biases moved, nothing else; the head is new.", exact=True
    ).is_visible()
    assert not page.locator("#theme").is_visible()
    page.locator("#tensors summary").first.click()
    assert page.get_by_text("encoder.layer.5.q.bias", exact=True).is_visible()
    assert page.locator("svg.chart").count() == 3
    assert page.locator("figure.heat").count() == 1
    cell = page.locator("figure.heat td").first  # its figure stands in it, and in words where one points
    assert cell.inner_text() == "6.00"
    assert cell.get_attribute("title") == "query, layer 0: mean|Δ| 0.600"
    row = page.locator("figure.strips li").filter(has_text="MLP up").first
    assert row.locator(".figure").inner_text() == "+0.220 [+0.166, +0.274], undecided"


def test_the_keyboard_skips_to_the_report(pages, visit):
    page = visit(pages["full"]).page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the report"
    assert page.locator(".skip").evaluate("e => e.getBoundingClientRect().top >= 0")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


#: What is wider inside than it is, of all that could be cut off.
_CLIPPED = """[...document.querySelectorAll('.scroll, table, figure, .cards a, pre')]
    .filter(e => e.scrollWidth > e.clientWidth + 1)
    .map(e => `${e.tagName} ${e.textContent.slice(0, 60)} ${e.scrollWidth} ${e.clientWidth}`)"""


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["full", "evil", "deep"])
def test_nothing_is_cut_off_at_any_width(name, width, pages, visit):
    """The page and every table in it are as wide inside as outside, with all folds open."""
    page = visit(pages[name], viewport={"width": width, "height": 800}).page
    page.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(_CLIPPED) == []


def test_the_first_screen_answers(pages, visit):
    """Is it good, what is wrong, what next: above the fold of a laptop, the figures as links."""
    page = visit(pages["full"], viewport={"width": 1440, "height": 900}).page
    assert page.locator("h1").inner_text() == "Don't ship"
    assert page.locator("h1").count() == 1
    cards = page.locator(".cards a")
    assert cards.locator(".title").all_inner_texts() == [
        "Quality on your examples",
        "Findings",
        "Trained long enough",
        "Method for this task",
        "What moved",
    ]
    assert cards.nth(0).inner_text().endswith("not measured: give --data")
    assert cards.nth(1).locator("strong").inner_text() == "1 error, 1 warning"
    assert cards.nth(4).evaluate("e => e.getBoundingClientRect().bottom < innerHeight")
    cards.nth(1).click()
    assert page.url.endswith("#findings")


def test_arrow_keys_tell_the_figures_of_a_heat_map(pages, visit):
    page = visit(pages["full"]).page
    cells = page.locator("figure.heat td")
    assert page.locator("figure.heat td[tabindex='0']").count() == 1
    cells.first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    told = page.evaluate("document.activeElement.dataset.tip")
    assert told == "MLP up, layer 1: mean|Δ| 0.441"  # 0.6 · 0.7 · 1.05
    assert page.locator("[data-tip]").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("folds", ["shut", "open"])
def test_axe_finds_nothing_serious(scheme, folds, pages, visit):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = visit(pages["full"], color_scheme=scheme).page
    if folds == "open":
        page.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    found = axe.run(page).response["violations"]
    serious = [
        (rule["id"], rule["impact"], [node["html"][:200] for node in rule["nodes"][:3]])
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ]
    assert serious == []


def test_it_prints_as_pdf_with_its_folds_open(pages, visit):
    page = visit(pages["full"]).page
    pdf = page.pdf(format="A4")
    assert pdf.startswith(b"%PDF")
    count = len(re.findall(rb"/Type\s*/Page\b", pdf))
    assert 3 <= count <= 20
    assert page.locator("#spectra details").first.get_attribute("open") is not None
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate(BACKGROUND) == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible()


def test_names_are_text_wherever_they_stand(pages, visit):
    opened = visit(pages["evil"])
    page = opened.page
    page.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    assert page.title().startswith(f"Can't tell: {ATTACKS[0]} against ")
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 2
    assert page.locator("[onerror], [onmouseover]").count() == 0
    names = page.locator("#tensors table").first.locator("tbody th").all_inner_texts()
    assert {ATTACKS[0], ATTACKS[1], ATTACKS[3], ATTACKS[5], "\\u202egnp.evil\\u202c \\u200f.bias"} <= set(
        names
    )
    everything = page.evaluate("document.body.innerText")
    assert not re.search("[\u202a-\u202e\u200e\u200f\u2066-\u2069]", everything)
    assert page.evaluate("document.dir") == ""
    data = page.evaluate("JSON.parse(document.getElementById('report-data').textContent)")
    assert data["comparisons"][0]["tensors"][0]["name"] == ATTACKS[0]


def test_ten_thousand_tensors_stay_small(pages, visit):
    """The page renders the top and says what it left out; the JSON has every tensor."""
    page = visit(pages["huge"]).page
    page.locator("#tensors summary").first.click()
    assert page.locator("#tensors tbody tr").count() == 300
    assert page.get_by_text("9,700 more rows left out of the page").is_visible()
    first = page.locator("#tensors tbody th").first.inner_text()
    biggest = max(range(10_000), key=lambda i: i * 37 % 9973)
    assert first == f"l.{biggest}.bias"
    assert page.evaluate("document.querySelectorAll('*').length") < 8_000
    data = json.loads(page.locator("#report-data").text_content())
    assert len(data["comparisons"][0]["tensors"]) == 10_000
