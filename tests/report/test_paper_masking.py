"""What the tanh hides: both attacks image by image, their difference by hand, the table, its CSV and the figure."""

import csv
import io
import json
import math

import numpy as np
import pytest

from measured_runs import recipe_of, settings_of, write_recipe, write_results
from p2be_exp.report.paper.gather import gather
from p2be_exp.report.paper.masking import Gap, Masked, find_masked, gap
from p2be_exp.report.paper.masking_figure import masking_picture, over_seeds
from p2be_exp.report.paper.masking_table import masking_csv, masking_grid
from p2be_exp.report.paper.write import make_report, report_text, write_report

N = 100
WRONG = {2: (5, 9), 8: (20, 50)}
"""By radius, how many of the first images are wrong under the attack on the outputs, and on the logits."""
SMALL = {"name": "fpd", "scale": "small"}
DECODER = "backbone=wrn16_1 dataset=digits encoding=rgb model=fpd"


def first(number, n=N):
    return np.arange(n) < number


def write_decoder(folder, recipe=DECODER, wrong=WRONG, seed=0, **more):
    """A run that was measured under both attacks, with the images behind each."""
    write_recipe(folder, recipe, {}, seed, sweep=SMALL)
    rows = {"clean": first(3)}
    for radius, (on_outputs, on_logits) in wrong.items():
        rows[f"attack/pgd_margin_secant/{radius}"] = first(on_logits)
        rows[f"attack/pgd_margin_secant_outputs/{radius}"] = first(on_outputs)
    write_results(folder, rows | more, settings_of(seed, corruption={"name": "none"}, attack={"name": "suite_short"}))


def rows_of(grid):
    return {label: [text.text for text in texts] for _, block in grid.blocks for label, texts in block}


def test_the_difference_is_of_the_same_images():
    on_outputs = np.array([1, 1, 0, 0, 0, 1, 0, 0, 0, 0], dtype=bool)
    on_logits = np.array([1, 0, 1, 1, 1, 1, 0, 0, 0, 1], dtype=bool)
    found = gap("pgd", 4, on_outputs, on_logits)
    assert (found.on_outputs.error, found.on_logits.error, found.points) == (30.0, 60.0, 30.0)
    assert found.alone == (1, 4)
    assert found.hidden.difference == pytest.approx(30.0)
    # Normal approximation of the mean of the differences 0 -1 1 1 1 0 0 0 0 1.
    spread = 100 * np.std([0, -1, 1, 1, 1, 0, 0, 0, 0, 1]) / math.sqrt(10)
    assert found.hidden.low == pytest.approx(30 - 1.96 * spread, abs=8)
    assert found.hidden.high == pytest.approx(30 + 1.96 * spread, abs=8)


def test_equal_attacks_hide_nothing():
    found = gap("pgd", 4, first(7), first(7))
    assert (*found.hidden, *found.alone) == (0.0, 0.0, 0.0, 0, 0)


def test_runs_with_both_attacks_are_found_and_no_others(workdir):
    write_decoder("decoder", attack_alone=first(1))
    write_decoder("no_tanh", f"{DECODER} model.tanh=false", {})
    efforts = {"attack/pgd_margin_secant_outputs_half/8": first(1), "attack/square_outputs/8": first(2)}
    write_decoder("efforts", DECODER, {8: (1, 2)}, **efforts)
    found = find_masked(gather(["decoder", "no_tanh", "efforts"])[0])
    assert [each.result.folder.name for each in found] == ["decoder", "efforts"]
    assert [[each.radius for each in one.gaps] for one in found] == [[2, 8], [8]]
    assert (found[0].place, found[0].label) == ("digits, wrn16_1", "FPD, RGB")
    assert [(each.on_outputs.n_wrong, each.on_logits.n_wrong) for each in found[0].gaps] == [(5, 9), (20, 50)]
    assert found[0].gaps[1].hidden.difference == pytest.approx(30.0)


def test_without_the_images_there_are_counts_alone(workdir):
    write_decoder("decoder")
    (workdir / "decoder" / "per_image" / "attack-pgd_margin_secant-8.npz").unlink()
    (found,) = find_masked(gather(["decoder"])[0])
    assert [each.hidden is None for each in found.gaps] == [False, True]
    assert rows_of(masking_grid([found], "masking"))["FPD, RGB, 8 levels"][4:] == ["+30.00", "", "", ""]


def test_the_table_and_its_lines(workdir):
    write_decoder("decoder")
    found = find_masked(gather(["decoder"])[0])
    grid = masking_grid(found, "masking")
    text = rows_of(grid)["FPD, RGB, 8 levels"]
    # Wilson's intervals of 20 and 50 in 100, from a table.
    assert text[:4] == ["20.00", "[13.34, 28.88]", "50.00", "[40.38, 59.62]"]
    low, high = (float(each.replace("+", "")) for each in text[5].strip("[]").split(", "))
    half = 196 * math.sqrt(0.3 * 0.7 / N)
    assert text[4] == "+30.00"
    assert (low, high) == (pytest.approx(30 - half, abs=1.5), pytest.approx(30 + half, abs=1.5))
    assert text[6:] == ["30", "0"]
    assert not any("Suspicious" in note for note in grid.notes)
    lines = list(csv.DictReader(io.StringIO(masking_csv(found, "masking"))))
    assert [line["eps_levels"] for line in lines] == ["2", "8"]
    line = lines[1]
    counts = [line[key] for key in ("n", "n_wrong_outputs", "n_wrong_logits", "only_outputs", "only_logits", "seed")]
    assert counts == ["100", "20", "50", "0", "30", "0"]
    assert (line["method"], line["attack"], line["run"]) == ("FPD, RGB", "pgd_margin_secant", "decoder")
    assert [round(float(line[key]), 2) for key in ("difference", "ci_low", "ci_high")] == [30.0, low, high]


def test_where_the_outputs_are_the_better_way_is_suspicious():
    worse = Masked("digits", "FPD", 0, (gap("pgd", 8, first(60), first(20)),))
    assert any("Suspicious" in note for note in masking_grid([worse], "masking").notes)


def test_several_seeds_are_named_and_drawn_as_one():
    seeds = [Masked("digits", "FPD", seed, (gap("pgd", 8, first(20), first(30 + 2 * seed)),)) for seed in range(3)]
    assert list(rows_of(masking_grid(seeds, "masking"))) == [f"FPD, seed {seed}, 8 levels" for seed in range(3)]
    found = over_seeds([each.gaps[0] for each in seeds])
    half = 4.302652730 * 2 / math.sqrt(3)  # Student's t of 2 degrees of freedom; 10, 12 and 14 points
    assert tuple(found) == pytest.approx((12.0, 12 - half, 12 + half))
    assert "FPD on digits at 8 levels: 20.00 and 32.00" in masking_picture(seeds, "masking").alt


def test_a_gap_without_an_interval_is_drawn_as_a_point():
    one = gap("pgd", 8, first(20), first(30))
    alone = Gap(one.attack, 8, one.on_outputs, one.on_logits)
    assert tuple(over_seeds([alone])) == (10.0, 10.0, 10.0)
    rows = [Masked("digits", "FPD", 0, (alone,)), Masked("mnist", "FPD", 0, (one,))]
    picture = masking_picture(rows, "masking")
    assert picture.svg.startswith("<svg")
    assert picture == masking_picture(rows, "masking")
    assert picture.alt.endswith(
        "FPD on digits at 8 levels: 20.00 and 30.00, hidden 10.00 to 10.00; "
        f"FPD on mnist at 8 levels: 20.00 and 30.00, hidden {one.hidden.low:.2f} to {one.hidden.high:.2f}."
    )


def test_the_report_has_its_section_in_every_form(workdir, tmp_path):
    write_decoder("decoder")
    write_decoder("adversarial", f"{DECODER} regime=advtrain attack@regime.attack=pgd_fixed", {8: (4, 4)})
    config = recipe_of(DECODER) | {"departs_from_paper": "scale=small of sweeps=fpd: few images"}
    (workdir / "decoder" / "config.yaml").write_text(json.dumps(config))
    report = make_report(["decoder", "adversarial"])
    write_report(report, tmp_path / "out")
    heading = report.masking.grid.heading
    assert "Not at full scale: scale=small of sweeps=fpd: few images." in report.masking.grid.warning
    assert heading in report_text(report)
    for file in ("index.html", "report.md"):
        text = (tmp_path / "out" / file).read_text()
        assert heading in text
        assert "FPD, RGB, 8 levels" in text
    assert "FPD, RGB, 8 levels" in (tmp_path / "out" / "tables" / "masking.tex").read_text()
    assert (tmp_path / "out" / "tables" / "masking.csv").read_text() == masking_csv(report.masking.rows, "masking")
    assert (tmp_path / "out" / "figures" / "masking.svg").read_text().startswith("<svg")


def test_without_such_runs_there_is_no_section(workdir):
    write_decoder("no_tanh", f"{DECODER} model.tanh=false", {})
    assert make_report(["no_tanh"]).masking is None
