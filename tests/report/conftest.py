"""Runs as the paper's sweeps leave them, and the report made of them once; a browser for its pages."""

import json
import shutil

import pytest

from measured_runs import GENERATED, OFFICIAL, write_recipe, write_results, wrong_images
from p2be_exp.report.paper.write import make_report, write_report

# error under corruptions (before the severities' spread), clean error
TABLE_2 = {"rgb": (33.1, 22.4), "onehot": (32.0, 23.9), "p2be": (31.8, 22.9)}
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
CONTRAST = """
const parse = text => text.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => { const [x, y, z] = [r, g, b].map(v => { v /= 255;
    return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4 }); return .2126 * x + .7152 * y + .0722 * z };
const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
    if (c.length == 3 || c[3] > 0) return c } return [255, 255, 255] };
return [...document.querySelectorAll('h1, h2, p, li, a, th, td, td span, caption span, figcaption, strong, small')]
    .filter(e => e.textContent.trim())
    .map(e => { const [a, b] = [parse(getComputedStyle(e).color), ground(e)].map(light).sort((x, y) => y - x);
        return [(a + .05) / (b + .05), e.tagName + '.' + e.className] }).sort((x, y) => x[0] - y[0])[0]"""
SMALL = {"name": "table2", "scale": "small"}
DIGITS = "backbone=wrn16_1 dataset=digits regime=augmix epochs=3 batch_size=32 limit_test=200"


def step(seed):
    """A spread of seeds that is not the same for any two."""
    return (seed * seed % 7 - 2) / 11


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Of Table II one network without the thermometer, with a run that is not finished; of Table IV; a small sweep."""
    root = tmp_path_factory.mktemp("report") / "runs & <more>"
    for number, (encoding, (corrupted, clean)) in enumerate(TABLE_2.items()):
        for seed in (0, 1, 2)[: 2 if encoding == "onehot" else 3]:
            errors = {"clean": clean + step(seed + number), "corruption": corrupted + step(2 * seed + number)}
            folder = root / "table2" / f"{encoding}_{seed}"
            write_recipe(folder, f"encoding={encoding}", errors, seed, corruption=OFFICIAL)
    write_recipe(root / "table2" / "unfinished", "encoding=thermometer", None, status="running")
    for encoding in ("onehot", "p2be"):
        for seed in (0, 1):
            attacked = {"onehot": 66 + step(seed), "p2be": 45.5}[encoding]
            errors = {"clean": 12 + step(seed), "attack/lspga/8": attacked}
            recipe = f"experiment=adversarial_cifar10 encoding={encoding}"
            write_recipe(root / "table4" / f"{encoding}_{seed}", recipe, errors, seed, attack={"name": "lspga"})
    for encoding, seed, rate in (("rgb", 0, 0.3), ("rgb", 1, 0.32), ("p2be", 1, 0.2)):
        folder = root / "small" / f"{encoding}_{seed}"
        write_recipe(
            folder, f"encoding={encoding} {DIGITS}", {}, seed, sweep=SMALL, corruption=GENERATED, limit_test=200
        )
        wrong = wrong_images(["clean", "corruption/fog/3"], 200, rate, seed)
        write_results(folder, wrong, {**_settings(folder), "dataset": "digits"})
    return root


def _settings(folder):
    return json.loads((folder / "results.json").read_text())["settings"]


@pytest.fixture(scope="session")
def report(runs):
    """Everything in memory."""
    return make_report([str(path) for path in sorted(runs.iterdir())])


@pytest.fixture(scope="session")
def written(report, tmp_path_factory):
    """The folder of the report."""
    out = tmp_path_factory.mktemp("written") / "out"
    write_report(report, out)
    return out


@pytest.fixture(scope="session")
def tables(report):
    """Filled tables by the ID of their files."""
    return {section.grid.id: section.table for section in report.sections}


@pytest.fixture(scope="session")
def words(report):
    """The same in words."""
    return {section.grid.id: section.grid for section in report.sections}


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    selenium = pytest.importorskip("selenium.webdriver", reason="no selenium: pip install -e '.[browser]'")
    if BROWSER is None or shutil.which("chromedriver") is None:
        pytest.skip("no chromium with chromedriver: apt-get install chromium chromium-driver")
    options = selenium.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = selenium.Chrome(options, selenium.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def contrast():
    """A script that returns the lowest contrast of a text to its ground, and where."""
    return CONTRAST
