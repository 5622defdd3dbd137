"""The leaderboard's page: strangers' texts are shown and do nothing; in a browser it is sorted by a click."""

import base64
import csv
import hashlib
import io
import json
from re import findall

import pytest

from leaderboard_entries import CHECK, summary_of, with_corruptions, write_entry
from p2be_exp.errors import BadInput
from p2be_exp.report.leaderboard.as_csv import as_csv
from p2be_exp.report.leaderboard.as_json import as_json
from p2be_exp.report.leaderboard.page import page
from p2be_exp.report.leaderboard.write import leaderboard_text, make_leaderboard, write_leaderboard

HOSTILE = "<script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">"
CHECKS = (
    CHECK,
    {"name": "one step is no stronger than many", "verdict": "failed", "detail": f"{HOSTILE} 12 against 3 images."},
    {"name": "gradients are not zero", "verdict": "not measured", "detail": "No gradient attack."},
)


@pytest.fixture(scope="module")
def leaderboard(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    write_entry(root / "a", with_corruptions(summary_of(10, {4: 20, 8: 120})), "name: Alpha 10\nauthors: A. & B. <C>\n")
    write_entry(root / "b", with_corruptions(summary_of(12, {8: 30}), (2, 2, 3, 3)), "name: alpha 9\n")
    write_entry(root / "c", summary_of(8, {8: 40}), "name: beta\npaper: https://example.org/?a=1&b=2\n")
    write_entry(root / "d", summary_of(7, {8: 9}, sanity=CHECKS), f"name: x\nnote: {json.dumps(HOSTILE)}\n")
    write_entry(root / "e", summary_of(9, {8: 50}, suite="suite_short"))
    write_entry(root / "=1+1", summary_of(11))
    write_entry(root / "new", summary_of() | {"conditions": {}, "clean_error": None})
    return make_leaderboard(root)


@pytest.fixture(scope="module")
def text(leaderboard):
    return page(leaderboard)


def test_strangers_texts_are_escaped(text):
    assert len(findall("<script", text)) == 1
    assert "<img" not in text
    assert "A. &amp; B. &lt;C&gt;" in text
    assert 'href="https://example.org/?a=1&amp;b=2" rel="nofollow noopener noreferrer"' in text


def test_the_page_needs_and_allows_nothing_else(text):
    assert not findall(r"<link(?! rel=\"icon\" href=\"data:)|@import|url\(| src=\"", text)
    ((script,),) = (findall(r"<script>(.*)</script>", text.replace("\n", "\r")),)
    digest = base64.b64encode(hashlib.sha256(script.replace("\r", "\n").encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in text


def test_what_is_on_the_page(text):
    words = " ".join(text.split())
    for part in (
        "digits, 200 test images",
        "Ranked by the worst case at 8 levels, over a short suite, which may miss what a full one breaks",
        "Not ranked: a check of the attacks failed or the panel did not run",
        '<span class="value">15.00</span><small>10.71 to 20.61</small><small>2 attacks, full suite</small>',
        '<span class="badge">generated</span><small>2 of 15 corruptions x 2 of 5 severities, without gaussian_noise',
        '<span aria-hidden="true">\N{MULTIPLICATION SIGN}</span> 1 failed',
        "12 against 3 images.",
        "Nothing measured yet",
    ):
        assert part in words, part


def test_json(leaderboard):
    content = json.loads(json.dumps(as_json(leaderboard)))
    assert (content["kind"], content["radius"]) == ("p2be_exp leaderboard", 8)
    (board,) = content["boards"]
    assert (board["dataset"], board["n_images"]) == ("digits", 200)
    ranks = [(each["rank"], each["ranked_by"], each["name"]) for each in board["entries"]]
    assert ranks == [
        (1, "suite", "alpha 9"),
        (2, "suite", "beta"),
        (3, "suite", "Alpha 10"),
        (1, "suite_short", "e"),
        (1, "clean", "=1+1"),
        (None, None, "x"),
    ]
    entry = board["entries"][2]
    assert entry["clean"]["n_wrong"] == 10
    at_4 = entry["worst_case"]["radii"]["4"]
    assert (at_4["n_wrong"], at_4["error"], at_4["attacks"]) == (20, 10.0, ["pgd_ce_secant", "square"])
    assert (at_4["ci_low"], at_4["ci_high"]) == pytest.approx((6.57, 14.94), abs=0.01)
    assert entry["corruptions"]["mean"] == 17.5
    assert content["not_measured_yet"] == ["new"]
    assert board["entries"][-1]["sanity"]["checks"][1]["verdict"] == "failed"


def test_csv(leaderboard):
    rows = list(csv.DictReader(io.StringIO(as_csv(as_json(leaderboard)))))
    assert [(row["name"], row["eps_levels"], row["worst_case_error"]) for row in rows] == [
        ("alpha 9", "8", "15.0"),
        ("beta", "8", "20.0"),
        ("Alpha 10", "4", "10.0"),
        ("Alpha 10", "8", "60.0"),
        ("e", "8", "25.0"),
        ("'=1+1", "", ""),
        ("x", "8", "4.5"),
    ]
    assert rows[-2]["clean_error"] == "5.5"


def test_on_a_terminal(leaderboard):
    lines = [" ".join(line.split()) for line in leaderboard_text(leaderboard).splitlines()]
    assert "1 alpha 9 6.00 15.00 10.71 to 20.61 ok" in lines
    assert "\N{EM DASH} x 3.50 4.50 2.39 to 8.33 failed" in lines
    assert "nothing measured yet: new" in lines


# -- the folder -------------------------------------------------------------------------------------------------------


def test_an_earlier_leaderboard_is_replaced_and_nothing_else(leaderboard, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    for _ in range(2):
        write_leaderboard(leaderboard, tmp_path)
    names = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
    assert names == {"mine.txt", "leaderboard.html", "leaderboard.json", "leaderboard.csv"}


@pytest.mark.parametrize("name", ["leaderboard.html", "leaderboard.json", "leaderboard.csv"])
def test_a_file_of_other_origin_is_not_replaced(leaderboard, tmp_path, name):
    (tmp_path / name).write_text("{}")
    with pytest.raises(BadInput, match=f"contains a {name} that is not a leaderboard's; choose another folder"):
        write_leaderboard(leaderboard, tmp_path)
    assert [path.name for path in tmp_path.glob("leaderboard.*")] == [name]


def test_nothing_is_written_through_a_link(leaderboard, tmp_path):
    (tmp_path / "target").write_text("theirs")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "leaderboard.html").symlink_to(tmp_path / "target")
    with pytest.raises(BadInput, match="is a link"):
        write_leaderboard(leaderboard, tmp_path / "out")
    assert (tmp_path / "target").read_text() == "theirs"


# -- in a browser -----------------------------------------------------------------------------------------------------

NAMES = """return [...document.querySelectorAll('tbody')].map(body =>
    [...body.querySelectorAll('tr:not(.block) .name')].map(name => name.textContent))"""


@pytest.fixture
def shown(driver, leaderboard, tmp_path):
    write_leaderboard(leaderboard, tmp_path)

    def shown(width=1280, media="screen", scheme="light"):
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
        driver.get((tmp_path / "leaderboard.html").as_uri())
        return driver

    return shown


def click(driver, heading):
    driver.execute_script(
        "[...document.querySelectorAll('th button')].find(b => b.textContent.startsWith(arguments[0])).click()", heading
    )


@pytest.mark.browser
def test_a_click_sorts_within_the_groups(shown):
    driver = shown()
    as_ranked = [["alpha 9", "beta", "Alpha 10"], ["e"], ["=1+1"], ["x"]]
    assert driver.execute_script(NAMES) == as_ranked
    click(driver, "Clean")
    assert driver.execute_script(NAMES)[0] == ["beta", "Alpha 10", "alpha 9"]
    assert driver.execute_script("return document.querySelector('[aria-sort]').textContent").startswith("Clean")
    click(driver, "Clean")
    assert driver.execute_script(NAMES)[0] == ["alpha 9", "Alpha 10", "beta"]
    click(driver, "Entry")
    assert driver.execute_script(NAMES)[0] == ["alpha 9", "Alpha 10", "beta"]  # 9 before 10
    for _ in range(2):
        click(driver, "Error under")
        assert driver.execute_script(NAMES)[0][-1] == "beta"  # not measured: last, in either direction
    click(driver, "Rank")
    assert driver.execute_script(NAMES) == as_ranked
    blocks = "return [...document.querySelectorAll('tbody')].every(b => b.rows[0].classList.contains('block'))"
    assert driver.execute_script(blocks)
    assert driver.title == "Leaderboard"
    assert driver.get_log("browser") == []


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_the_body_does_not_scroll_sideways(shown, width):
    driver = shown(width)
    wide = """document.querySelectorAll('details').forEach(each => { each.open = true });
        return [...document.querySelectorAll('body *')]
        .filter(e => !e.closest('.scroll') && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName)"""
    assert driver.execute_script(wide) == []
    assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(shown, contrast, scheme):
    driver = shown(scheme=scheme)
    driver.execute_script("document.querySelectorAll('details').forEach(each => { each.open = true })")
    ratio, where = driver.execute_script(contrast)
    assert ratio >= 4.5, where  # WCAG 2.2 AA


@pytest.mark.browser
def test_print_cuts_no_table(shown):
    """A4 landscape without its margins is 273 mm wide: 1031 CSS pixels."""
    driver = shown(1031, media="print")
    assert (
        driver.execute_script("""return [...document.querySelectorAll('table')]
        .filter(e => e.getBoundingClientRect().right > innerWidth + 1).length""")
        == 0
    )
