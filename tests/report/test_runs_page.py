"""The page that compares runs: what it tells is what was measured; in a browser it is sorted and filtered."""

import base64
import hashlib
from dataclasses import replace
from re import DOTALL, findall, search

import pytest

from measured_runs import OFFICIAL, write_recipe
from p2be_exp.report.paper.gather import gather
from p2be_exp.report.paper.keys import Measure
from p2be_exp.report.paper.measures import interval_over_images, value
from p2be_exp.report.paper.runs_page import runs_page
from p2be_exp.statistics.intervals import wilson_interval

HOSTILE = """"><script>document.title = 'owned'</script><img src=x onerror="document.title = 'owned'">'"""


@pytest.fixture(scope="module")
def text(report):
    return runs_page(report.results)


def test_every_error_with_its_interval_and_its_folder(report, text):
    told = findall(r'data-told="([^"]*)"', text)
    result = next(each for each in report.results if str(each.folder).endswith("table4/p2be_1"))
    count = result.counts["attack/lspga/8"]
    low, high = (100 * end for end in wilson_interval(count.n_wrong, count.n))
    expected = f"error under LS-PGA {count.error:.2f} %, 95 % interval {low:.2f} to {high:.2f} over its test images"
    assert any(each.startswith(expected) and each.endswith("table4/p2be_1") for each in told)
    kinds = ("clean", "corruption", "lspga")
    errors = [value(each, Measure(kind)) for each in report.results for kind in kinds]
    assert len(told) == sum(error is not None for error in errors)
    assert text.count('<td class="missing"') == sum(error is None for error in errors)
    assert "worst case" not in text  # nobody has measured it


def test_a_mean_over_conditions_has_the_mean_of_their_intervals(report):
    result = next(each for each in report.results if str(each.folder).endswith("table2/p2be_1"))
    counts = [count for name, count in result.counts.items() if name.startswith("corruption/")]
    assert len(counts) == 75
    ends = [wilson_interval(count.n_wrong, count.n) for count in counts]
    expected = [100 * sum(end[side] for end in ends) / 75 for side in (0, 1)]
    assert interval_over_images(result, Measure("corruption")) == pytest.approx(expected)
    assert interval_over_images(result, Measure("lspga")) is None


def test_dots_stand_on_the_scale_of_their_column(text):
    places = [float(each) for each in findall(r'<circle cx="([\d.]+)"', text)]
    ends = [float(each) for pair in findall(r'x1="([\d.]+)" x2="([\d.]+)"', text) for each in pair]
    assert all(4 <= place <= 96 for place in (*places, *ends))
    assert (min(ends), max(ends)) == (4, 96)


def test_texts_do_nothing(report):
    one, *_ = report.results
    hostile = replace(one, folder=one.folder / HOSTILE)
    text = runs_page([hostile])
    assert text.count("<script>") == 1
    assert "<img" not in text
    assert "&lt;script&gt;" in text


def test_only_its_own_script_may_run(text):
    (script,) = findall(r"<script>(.*?)</script>", text, DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert not findall(r"(?:src|href)=\"(?!data:,)", text)
    assert "innerHTML" not in script


def test_one_value_alone_has_a_place(workdir):
    write_recipe("a", "encoding=rgb", {"clean": 0.0}, corruption=OFFICIAL)
    text = runs_page(gather(["a"])[0])
    assert "clean error 0.00 %, 95 % interval 0.00 to 0.04 over its test images; a" in text
    assert 'cx="4.0"' in text


# -- in a browser -----------------------------------------------------------------------------------------------------


@pytest.fixture
def shown(driver, report, tmp_path):
    one, other, *rest = report.results
    page = runs_page([replace(one, folder=one.folder / HOSTILE), other, *rest])
    (tmp_path / "runs.html").write_text(page)

    def shown(width=1280, media="screen", scheme="light"):
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
        driver.get((tmp_path / "runs.html").as_uri())
        return driver

    return shown


CHOOSE = """const select = document.querySelectorAll('select')[arguments[0]];
    select.value = arguments[1]; select.dispatchEvent(new Event('change'))"""
ROWS = """return [...document.querySelectorAll('tbody tr:not([hidden])')].map(row =>
    [...row.cells].map(cell => cell.dataset.value))"""


@pytest.mark.browser
def test_it_is_filtered_and_sorted(shown, report):
    driver = shown()
    assert len(driver.execute_script(ROWS)) == len(report.results)
    driver.execute_script(CHOOSE, 2, "P2BE")
    assert {row[3] for row in driver.execute_script(ROWS)} == {"P2BE"}
    driver.execute_script(CHOOSE, 3, "AugMix")
    found = driver.execute_script(ROWS)
    chosen = [each for each in report.results if each.config.encoding.name == "p2be"
              and each.config.regime.name == "augmix"]  # fmt: skip
    assert len(found) == len(chosen) > 1
    count = driver.execute_script("return document.querySelector('.count').textContent")
    assert count == f"{len(chosen)} of {len(report.results)} runs"
    for order in (1, -1):
        driver.execute_script("document.querySelectorAll('thead button')[6].click()")
        errors = [float(row[6]) for row in driver.execute_script(ROWS)]
        assert errors == sorted(errors)[::order]
    assert driver.title == "The runs, compared"
    assert driver.get_log("browser") == []


@pytest.mark.browser
def test_the_focus_and_the_pointer_tell(shown):
    driver = shown()
    told = "return document.querySelector('.told').textContent"
    assert driver.execute_script(told) == ""
    expected = driver.execute_script(
        "const c = document.querySelectorAll('td.error')[1]; c.focus(); return c.dataset.told"
    )
    assert driver.execute_script(told) == expected
    expected = driver.execute_script("""const cell = document.querySelectorAll('td.error')[2];
        cell.querySelector('circle').dispatchEvent(new Event('pointerover', {bubbles: true}));
        return cell.dataset.told""")
    assert driver.execute_script(told) == expected
    assert driver.title == "The runs, compared"


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_the_body_does_not_scroll_sideways(shown, width):
    driver = shown(width)
    wide = """return [...document.querySelectorAll('body *')]
        .filter(e => !e.closest('.scroll') && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName)"""
    assert driver.execute_script(wide) == []
    assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(shown, contrast, scheme):
    driver = shown(scheme=scheme)
    ratio, where = driver.execute_script(contrast)
    assert ratio >= 4.5, where  # WCAG 2.2 AA


@pytest.mark.browser
def test_print_cuts_no_table(shown):
    """A4 landscape without its margins is 273 mm wide: 1031 CSS pixels."""
    driver = shown(1031, media="print")
    cut = "return [...document.querySelectorAll('table')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
    assert driver.execute_script(cut) == []
    assert driver.execute_script("return getComputedStyle(document.querySelector('.filters')).display") == "none"
