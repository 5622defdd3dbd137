"""The report's page in a real browser: on a phone, on a desktop, printed."""

import base64
from dataclasses import replace
from re import DOTALL, findall

import pytest

from p2be_exp.report.paper.keys import natural
from p2be_exp.report.paper.page import page

pytestmark = pytest.mark.browser
WIDTHS = (390, 1280)


@pytest.fixture
def show(driver, written):
    def show(width, media="screen", scheme="light"):
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
        driver.get((written / "index.html").as_uri())
        return driver

    return show


@pytest.mark.parametrize("width", WIDTHS)
def test_the_body_does_not_scroll_sideways(show, width):
    driver = show(width)
    assert driver.execute_script("return innerWidth") == width
    wide = """return [...document.querySelectorAll('body *')]
        .filter(e => !e.closest('.scroll') && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName)"""
    assert driver.execute_script(wide) == []
    driver.execute_script("scrollTo(500, 0)")
    assert driver.execute_script("return scrollX") == 0
    inside = "return [...document.querySelectorAll('.scroll')].every(e => e.clientWidth <= innerWidth)"
    assert driver.execute_script(inside)


HINT = """const told = e => getComputedStyle(e, '::before');
    return [...document.querySelectorAll('.scroll')].map(e =>
        [e.scrollWidth > e.clientWidth, parseFloat(told(e).maxHeight) > 0, told(e).content.includes('sideways')])"""


@pytest.mark.parametrize("width", WIDTHS)
def test_what_scrolls_says_so_and_nothing_else_does(show, width):
    found = show(width).execute_script(HINT)
    assert all(scrolls == told and says for scrolls, told, says in found), found
    assert width > 390 or any(scrolls for scrolls, *_ in found)


def test_a_desktop_is_used_in_its_width(show):
    driver = show(1280)
    right = "return Math.max(...[...document.querySelectorAll(arguments[0])].map(e => e.getBoundingClientRect().right))"
    for what in ("nav", ".notes", "figure", "#table2 table"):
        assert driver.execute_script(right, what) > 1200, what
    grown = """return [...document.images].map(i => i.getBoundingClientRect().width
        / parseFloat(i.style.getPropertyValue('--natural')))"""
    assert all(factor <= 1.21 for factor in driver.execute_script(grown))


def test_tables_scroll_in_their_boxes_on_a_phone(show):
    driver = show(390)
    moved = """const box = document.querySelector('#table2 .scroll');
        const head = box.querySelector('tbody th[scope=row]');
        const before = head.getBoundingClientRect().left; box.scrollLeft = 200;
        return [box.scrollLeft, head.getBoundingClientRect().left - before]"""
    assert driver.execute_script(moved) == [200, 0]  # the names of the rows stay


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_missing_and_nothing_is_wrong(show, report, width):
    driver = show(width)
    sizes = driver.execute_script("return [...document.images].map(i => [i.complete, i.naturalWidth, i.alt.length])")
    expected = [*report.glance, *report.maps, *(each for section in report.sections for each in section.pictures)]
    assert len(sizes) == len(expected)
    assert all(complete and natural > 100 and alt > 20 for complete, natural, alt in sizes)
    assert driver.get_log("browser") == []
    asked = driver.execute_script("return performance.getEntriesByType('resource').map(e => e.name.slice(0, 5))")
    assert set(asked) <= {"data:"}


def test_the_numbers(show, report):
    driver = show(1280)
    read = """return [...document.querySelectorAll('#' + arguments[0] + ' tbody tr:not(.block)')].map(row =>
        [row.querySelector('th').textContent, ...[...row.querySelectorAll('td')].map(cell => cell.textContent)])"""
    for grid in (section.grid for section in report.sections):
        rows = [[row, *(text.text for text in texts)] for _, of in grid.blocks for row, texts in of]
        assert driver.execute_script(read, grid.id) == rows
    runs = [row[0] for row in driver.execute_script(read, "runs")]
    folders = [str(each.folder) for each in report.results]
    assert runs == sorted(folders, key=natural) + [str(each.folder) for each in report.not_used]


def test_headings_that_say_what_they_are_of(show):
    driver = show(1280)
    without = "return [...document.querySelectorAll('th')].filter(e => !e.scope).length"
    assert driver.execute_script(without) == 0
    count = "return [document.querySelectorAll('table').length, document.querySelectorAll('table > caption').length]"
    tables, captions = driver.execute_script(count)
    assert tables == captions > 3
    columns = """return [...document.querySelectorAll('table.numbers')].every(table => {
        const width = row => [...row.cells].reduce((sum, cell) => sum + cell.colSpan, 0);
        return [...table.querySelectorAll('tbody tr')].every(row => width(row) == width(table.rows[0])) })"""
    assert driver.execute_script(columns)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(show, contrast, scheme):
    driver = show(1280, scheme=scheme)
    ratio, where = driver.execute_script(contrast)
    assert ratio >= 4.5, where  # WCAG 2.2 AA
    ground = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")


def test_print_cuts_no_table(show):
    """A4 landscape without its margins is 273 mm wide: 1031 CSS pixels."""
    driver = show(1031, media="print")
    cut = """return [...document.querySelectorAll('table, img')]
        .filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName)"""
    assert driver.execute_script(cut) == []
    assert driver.execute_script("return getComputedStyle(document.querySelector('nav')).display") == "none"
    boxes = "return [...document.querySelectorAll('.scroll')].map(box => getComputedStyle(box).overflowX)"
    assert set(driver.execute_script(boxes)) == {"visible"}  # paper does not scroll
    printed = driver.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"]
    pages = findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", base64.b64decode(printed))
    assert len(pages) > 2
    assert {(round(float(x)), round(float(y))) for x, y in pages} == {(842, 595)}  # not scaled, not upright


def test_texts_are_shown_as_they_are(report):
    section = report.sections[0]
    hostile = replace(section.grid, heading='<script>alert(1)</script> & "more"', sentence="a < b")
    text = page("<b>", ["<i>"], replace(report, sections=[replace(section, grid=hostile)]))
    assert "<script>" not in text
    assert "<i>" not in text
    assert "a &lt; b" in text


def test_the_page_needs_nothing_else(written):
    text = (written / "index.html").read_text()
    assert not findall(r"<script|<link(?! rel=\"icon\" href=\"data:)|@import|url\(", text)
    outside = [address for address in findall(r"(?:src|href)=\"([^\"]*)\"", text, DOTALL) if address[0] != "#"]
    outside.remove("runs.html")  # the other page of the report, beside it
    assert all(address.startswith("data:") for address in outside)
