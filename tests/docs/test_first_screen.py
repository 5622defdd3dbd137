"""The README's picture can be made again: the script that draws it, on a small evaluation."""

import csv
import importlib.util
import json

import matplotlib.image
import pytest

from commandline import ROOT
from p2be_exp.corruptions.names import SEVERITIES, TEST
from p2be_exp.evaluation import measures

DETAIL = "The largest change: pgd_margin_secant 75.4 % at 8 levels against pgd_margin_secant_half 73.0 % (12 wrong)."


def row(n, n_wrong, error, low, high):
    return {"n": n, "n_wrong": n_wrong, "error": error, "ci_low": low, "ci_high": high}


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("first_screen", ROOT / "docs/images/first_screen.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(tmp_path):
    cells = {name: {severity: 10.0 * severity for severity in SEVERITIES} for name in TEST if name != "frost"}
    plan = measures.Plan("generated", "digits", TEST, SEVERITIES, {"frost": "no textures"})
    conditions = {"clean": row(500, 8, 1.6, 0.81, 3.13), "attack/square/8": row(500, 12, 2.4, 1.38, 4.15)}
    for name, errors in cells.items():
        conditions |= {f"corruption/{name}/{s}": row(500, 5, error, 0.0, 9.0) for s, error in errors.items()}
    sanity = [
        {"name": "attacks keep the wrong images", "verdict": "ok", "detail": ""},
        {"name": "twice the steps or restarts change little", "verdict": "suspicious", "detail": DETAIL},
    ]
    content = {"conditions": conditions, "attacks": {}, "worst_case_error": {"8": 2.4}, "sanity": sanity}
    content |= {"clean_error": 1.6, **measures.summarise(cells, plan, 1.6, 500)}
    (tmp_path / "results.json").write_text(json.dumps(content))
    with (tmp_path / "results.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "severity", "error", "ci_low", "ci_high"])
        writer.writerow(["", "", 1.6, 0.81, 3.13])
        writer.writerows([name, s, error, 0, 9] for name, errors in cells.items() for s, error in errors.items())
    return tmp_path


def test_the_terminal_shows_the_attacks_and_the_panel(script, run):
    lines = script.terminal_lines(json.loads((run / "results.json").read_text()))
    assert all(len(line) <= script.WIDTH for line in lines)
    assert lines[1].split() == ["clean", "500", "8", "1.60", "0.81", "to", "3.13"]
    assert lines[2].split() == ["attack/square/8", "500", "12", "2.40", "1.38", "to", "4.15"]
    at = lines.index("suspicious    twice the steps or restarts change little")
    assert " ".join(" ".join(lines[at + 1 :]).split()) == DETAIL  # the grid of corruptions is the picture beside it


def test_the_picture_has_both_halves(script, run, tmp_path):
    script.first_screen(run).savefig(tmp_path / "out.png", dpi=50)
    pixels = matplotlib.image.imread(tmp_path / "out.png")[..., :3]
    left, right = pixels[:, : pixels.shape[1] // 3], pixels[:, 2 * pixels.shape[1] // 3 :]
    assert left.mean() < 0.5 < right.mean()  # a dark terminal, a white page
