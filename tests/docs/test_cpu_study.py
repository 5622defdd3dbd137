"""docs/studies/cpu.md: its tables are the rows that lie beside it."""

import csv
import json

import pytest

from commandline import ROOT
from p2be_exp.corruptions.names import SEVERITIES, TEST
from p2be_exp.statistics.intervals import wilson_interval

PAGE = ROOT / "docs/studies/cpu.md"
ROWS = ROOT / "docs/studies/cpu"
NAMES = {"rgb": "RGB", "onehot": "one-hot, M = 64", "thermometer": "thermometer, M = 64", "p2be": "P2BE, M = 64"}
RADII = (2, 8)


def rows_of(encoding, file):
    with (ROWS / encoding / file).open() as lines:
        return {row["condition"]: row for row in csv.DictReader(lines)}


def error(row):
    return f"{float(row['error']):.1f}"


def with_interval(n_wrong, n):
    low, high = wilson_interval(n_wrong, n)
    return f"{100 * n_wrong / n:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def worst_case(encoding, radius):
    return json.loads((ROOT / f"docs/zoo/cifar10_{encoding}/results_attacks.json").read_text())["worst_case_error"][
        str(radius)
    ]


def overview(encoding):
    """Clean and corrupted images, the worst case of the suite at both radii."""
    own, attacks = rows_of(encoding, "results.csv"), rows_of(encoding, "attacks.csv")
    cells = [own[f"corruption/{name}/{severity}"] for name in TEST for severity in SEVERITIES]
    mean = sum(float(row["error"]) for row in cells) / len(cells)
    n = int(attacks["clean"]["n"])
    worst = [with_interval(round(worst_case(encoding, radius) / 100 * n), n) for radius in RADII]
    clean = with_interval(int(own["clean"]["n_wrong"]), int(own["clean"]["n"]))
    return f"| {NAMES[encoding]} | {clean} | {mean:.1f} | {' | '.join(worst)} |"


def corruptions(encoding):
    """The mean of each corruption over its severities."""
    own = rows_of(encoding, "results.csv")
    means = [sum(float(own[f"corruption/{name}/{each}"]["error"]) for each in SEVERITIES) / 5 for name in TEST]
    return [f"{mean:.1f}" for mean in means]


def attacks_of(encoding, radius):
    """What single attacks broke on the 500 images, among them the best of the gradient attacks on a surrogate."""
    attacks = rows_of(encoding, "attacks.csv")
    of_radius = {name.split("/")[1]: row for name, row in attacks.items() if name.endswith(f"/{radius}")}
    pgd = [float(row["error"]) for name, row in of_radius.items() if name.startswith("pgd_") and "1step" not in name]
    single = [error(of_radius[name]) for name in ("random_in_ball", "pgd_ce_secant_1step", "lspga", "lspga_margin")]
    shown = [*single, f"{max(pgd):.1f}", error(of_radius["square"]), f"{worst_case(encoding, radius):.1f}"]
    return f"| {NAMES[encoding]} | {radius} | {' | '.join(shown)} |"


def lines():
    return PAGE.read_text().splitlines()


@pytest.mark.parametrize("encoding", NAMES)
def test_the_tables_are_the_rows(encoding):
    page = lines()
    assert overview(encoding) in page
    for radius in RADII:
        assert attacks_of(encoding, radius) in page


def test_the_table_of_corruptions_is_the_rows():
    columns = [corruptions(encoding) for encoding in NAMES]
    for number, name in enumerate(TEST):
        assert f"| {name.replace('_', ' ')} | {' | '.join(column[number] for column in columns)} |" in lines()


@pytest.mark.parametrize("encoding", NAMES)
def test_every_cell_was_measured_on_the_same_images(encoding):
    own, attacks = rows_of(encoding, "results.csv"), rows_of(encoding, "attacks.csv")
    assert len(own) == 1 + 75
    assert {row["n"] for row in own.values()} == {"2000"}
    assert {row["n"] for row in attacks.values()} == {"500"}
    assert {row["eps_levels"] for row in attacks.values()} == {"", "2", "8"}


def test_no_row_and_no_page_of_the_report_names_a_folder_of_a_machine():
    for file in (each for each in ROWS.rglob("*") if each.is_file()):
        text = file.read_text()
        assert "/tmp/" not in text, file
        assert "/home/" not in text, file
        assert "/root/" not in text, file
