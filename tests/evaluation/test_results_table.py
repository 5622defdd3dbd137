"""The table of an evaluation on a terminal."""

from statistics import fmean

import pytest

from p2be_exp.corruptions import ALL
from p2be_exp.evaluation import measures
from p2be_exp.evaluation.table import results_table


def row(n, n_wrong, error, low, high):
    return {"n": n, "n_wrong": n_wrong, "error": error, "ci_low": low, "ci_high": high}


def results(conditions, **parts):
    nothing = {"attacks": {}, "worst_case_error": None, "sanity": None, **measures.nothing_measured()}
    return {"conditions": conditions, **nothing, **parts}


def test_every_condition_has_a_line_with_its_numbers():
    conditions = {
        "clean": row(10_000, 2281, 22.81, 21.998, 23.6421),
        "attack/lspga/16": row(500, 500, 100.0, 99.2376, 100.0),
        "attack/pgd_ce_secant/8": row(7, 0, 0.0, 0.0, 35.4326),
    }
    lines = results_table(results(conditions)).splitlines()
    assert len(lines) == 4
    assert lines[1].split() == ["clean", "10000", "2281", "22.81", "22.00", "to", "23.64"]
    assert lines[2].split()[:7] == ["attack/lspga/16", "500", "500", "100.00", "99.24", "to", "100.00"]
    assert lines[3].split()[:7] == ["attack/pgd_ce_secant/8", "7", "0", "0.00", "0.00", "to", "35.43"]


def test_columns_line_up():
    conditions = {"clean": row(10_000, 2281, 22.81, 22.0, 23.6), "attack/pgd/8": row(7, 0, 0.0, 0.0, 35.4)}
    header, *lines = results_table(results(conditions)).splitlines()
    for word in ("images", "wrong", "error %"):
        end = header.index(word) + len(word)
        for line in lines:
            assert line[end - 1].isdigit(), (word, line)
            assert line[end] == " "


def test_nothing_measured_yet():
    assert len(results_table(results({})).splitlines()) == 1


# -- corruptions ------------------------------------------------------------------------------------------------------

CELLS = {name: {1: 10.0 + number, 4: 30.0 + number} for number, name in enumerate(ALL)}


def table(plan, cells=CELLS, clean=2.0, images=500, **parts):
    conditions = {"clean": row(500, 10, 2.0, 1.0, 3.0)}
    for name, errors in cells.items():
        conditions |= {f"corruption/{name}/{s}": row(500, 5, error, 0.0, 9.0) for s, error in errors.items()}
    return results_table(results(conditions, **measures.summarise(cells, plan, clean, images), **parts)).splitlines()


def test_corruptions_are_a_grid_with_their_means():
    lines = table(measures.Plan("generated", "digits", ALL, (1, 4)))
    assert lines[3].split() == ["error", "%", "at", "severity", "1", "4", "mean"]
    grid = {line.split()[0]: line.split()[1:] for line in lines[4:23]}
    assert list(grid) == list(ALL)
    assert grid["fog"] == ["19.00", "39.00", "29.00"]
    said = {line[:32].strip(): line[32:].split(maxsplit=1) for line in lines[23:29]}
    assert said["mean"] == ["27.00", "over 15 of 15 corruptions x 2 of 5 severities"]
    assert said["noise"] == ["21.00", "over 3 of 3 corruptions x 2 of 5 severities"]
    assert float(said["mean of the extra ones"][0]) == pytest.approx(fmean(20 + n for n in (15, 16, 17, 18)))
    assert lines[-1] == "corrupted images: made here, not the published files"
    assert not any(line.startswith("corruption/") for line in lines)


def test_numbers_stand_under_their_severities():
    header, *lines = table(measures.Plan("generated", "digits", ALL, (1, 4)))[3:23]
    for word in ("1", "4", "mean"):
        end = header.index(word) + len(word)
        assert all(line[end - 1].isdigit() and (line + " ")[end] == " " for line in lines)


def test_what_is_missing_or_unfinished_is_said():
    cells = {name: errors for name, errors in CELLS.items() if name in ("snow", "fog")}
    names = ("snow", "frost", "fog")
    plan = measures.Plan("official", "cifar10", names, (1, 4), {"frost": "not in the folder"}, identical=names)
    lines = table(plan, cells)
    assert "frost left out: not in the folder" in lines
    assert any(line.startswith("mean ") and line.endswith("over 2 of 15 corruptions x 2 of 5 severities")
               for line in lines)  # fmt: skip
    assert lines[-1] == "corrupted images: the published files"
    lines = table(plan, {"snow": CELLS["snow"], "fog": {1: 19.0}})
    assert "not finished: fog" in lines
    assert ["fog", "19.00", "-", "-"] in [line.split() for line in lines]
    assert not any(line.startswith("mean ") for line in lines)


def test_mce_stands_there_where_there_is_one():
    cells = {name: dict.fromkeys((1, 2, 3, 4, 5), error) for name, error in measures.ALEXNET.items()}
    plan = measures.Plan("given", "imagenet", tuple(cells), (1, 2, 3, 4, 5))
    lines = table(plan, cells, clean=measures.ALEXNET_CLEAN, images=50_000)
    for name in ("mCE", "relative mCE"):
        (line,) = (line for line in lines if line.startswith(f"{name} "))
        assert line[32:].split() == ["100.00", "AlexNet", "=", "100"]
    assert lines[-1] == "corrupted images: given as ImageNet-C, not verified"
    assert not any(line.startswith("mCE") for line in table(plan, cells, images=49_999))


@pytest.mark.parametrize(
    ("source", "identical", "told"),
    [
        ("generated", (), "made here, not the published files"),
        ("generated", ("contrast", "pixelate", "saturate"),
         "3 of 19 corruptions identical to the published files, 16 made here"),
        ("generated", ALL, "19 of 19 corruptions identical to the published files, made here"),
        ("own", (), "own files"),
        ("official", ALL, "the published files"),
    ],
)  # fmt: skip
def test_whose_the_corrupted_images_are(source, identical, told):
    lines = table(measures.Plan(source, "cifar10", ALL, (1, 4), identical=identical))
    assert lines[-1] == f"corrupted images: {told}"
    assert not any(line.startswith("mCE") for line in lines)


@pytest.mark.parametrize(
    ("dataset", "told"),
    [("cifar10", "given as the published files, not verified"), ("imagenet", "given as ImageNet-C, not verified")],
)
def test_older_results_say_published_and_were_not_verified(dataset, told):
    summary = measures.summarise(CELLS, measures.Plan("official", dataset, ALL, (1, 4)), 2.0, 500)
    del summary["corruptions"]["identical"], summary["corruptions"]["remarks"]
    conditions = {"clean": row(500, 10, 2.0, 1.0, 3.0)}
    lines = results_table(results(conditions, settings={"dataset": dataset}, **summary)).splitlines()
    assert lines[-1] == f"corrupted images: {told}"


def test_severities_of_own_files_that_do_not_get_worse_are_said():
    cells = {"fog": {1: 9.0, 4: 5.0}, "snow": {1: 3.0, 4: 7.0}}
    plan = measures.Plan("own", "cifar10", tuple(cells), (1, 4))
    lines = table(plan, cells)
    assert lines[-3:] == [
        "remark: severity 4 is no worse than 1 on average (error 6.00 and 6.00)",
        "remark: severity 4 is no worse than 1: fog",
        "corrupted images: own files",
    ]
    better = {"fog": {1: 5.0, 4: 9.0}, "snow": {1: 3.0, 4: 7.0}}
    for told in (table(plan, better), table(measures.Plan("generated", "cifar10", tuple(cells), (1, 4)), cells)):
        assert not any(line.startswith("remark") for line in told)


# -- attacks ----------------------------------------------------------------------------------------------------------

ATTACKED = {
    "attacks": {
        "random_in_ball": {"gradient": None, "error": {"8": 2.0}},
        "pgd_ce_secant": {"gradient": "secant", "error": {"8": 40.0}, "zero_gradient": {"8": 0.125}},
    },
    "worst_case_error": {"8": 41.25, "16": None},
    "sanity": [
        {"name": "one", "verdict": "ok", "detail": "fine."},
        {"name": "two", "verdict": "failed", "detail": "not fine at all, " * 12},
        {"name": "one", "verdict": "ok", "detail": "fine again."},
        {"name": "three", "verdict": "not measured", "detail": "nothing there."},
    ],
}


def test_a_single_attack_is_no_worst_case_and_a_short_suite_is_said():
    conditions = {"clean": row(100, 2, 2.0, 0.6, 7.0)}
    lines = results_table(results(conditions, **{**ATTACKED, "worst_case_error": None})).splitlines()
    assert lines[2].split() == ["error", "under", "pgd_ce_secant", "alone,", "8", "levels", "40.00"]
    assert not any("worst case" in line for line in lines)
    short = {"suite": "suite_short", "attacks": {"8": ["random_in_ball", "pgd_ce_secant"]}}
    lines = results_table(results(conditions, **ATTACKED, worst_case=short)).splitlines()
    assert lines[2].split() == ["worst", "case,", "8", "levels", "(short", "suite)", "41.25"]


def test_an_attack_says_what_it_alone_broke():
    conditions = {"clean": row(100, 2, 2.0, 0.6, 7.0), "attack/random_in_ball/8": row(100, 2, 2.0, 0.6, 7.0),
                  "attack/pgd_ce_secant/8": row(100, 40, 40.0, 30.9, 49.8)}  # fmt: skip
    attacks = {
        name: {**attack, "alone": {"8": 3 * (name != "random_in_ball")}} for name, attack in ATTACKED["attacks"].items()
    }
    lines = results_table(results(conditions, **{**ATTACKED, "attacks": attacks})).splitlines()
    assert lines[2].endswith("   no gradient")
    assert lines[3].endswith("   gradient secant, 12.5 % of it 0, 3 alone")


def test_attacks_say_their_gradient_the_worst_case_and_the_panel():
    conditions = {"clean": row(100, 2, 2.0, 0.6, 7.0), "attack/random_in_ball/8": row(100, 2, 2.0, 0.6, 7.0),
                  "attack/pgd_ce_secant/8": row(100, 40, 40.0, 30.9, 49.8)}  # fmt: skip
    lines = results_table(results(conditions, **ATTACKED)).splitlines()
    assert lines[1].endswith("0.60 to 7.00")
    assert lines[2].endswith("   no gradient")
    assert lines[3].endswith("   gradient secant, 12.5 % of it 0")
    assert lines[4].split() == ["worst", "case,", "8", "levels", "41.25"]
    assert lines[5].split() == ["worst", "case,", "16", "levels", "-"]
    assert lines[6:10] == ["", "can these numbers be trusted?", "ok            one", "failed        two"]
    assert "not fine at all, not fine" in lines[10]
    assert lines[-1] == "not measured  three"
    assert all(len(line) <= 120 for line in lines)
