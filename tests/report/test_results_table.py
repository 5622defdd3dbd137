"""The table of an evaluation on a terminal."""

from p2be_exp.report.table import results_table


def row(n, n_wrong, error, low, high):
    return {"n": n, "n_wrong": n_wrong, "error": error, "ci_low": low, "ci_high": high}


def test_every_condition_has_a_line_with_its_numbers():
    conditions = {
        "clean": row(10_000, 2281, 22.81, 21.998, 23.6421),
        "corruption/gaussian_noise/5": row(500, 500, 100.0, 99.2376, 100.0),
        "attack/pgd_ce_secant/8": row(7, 0, 0.0, 0.0, 35.4326),
    }
    lines = results_table({"conditions": conditions, "clean_error": 22.81}).splitlines()
    assert len(lines) == 4
    assert lines[1].split() == ["clean", "10000", "2281", "22.81", "22.00", "to", "23.64"]
    assert lines[2].split() == ["corruption/gaussian_noise/5", "500", "500", "100.00", "99.24", "to", "100.00"]
    assert lines[3].split() == ["attack/pgd_ce_secant/8", "7", "0", "0.00", "0.00", "to", "35.43"]


def test_columns_line_up():
    conditions = {"clean": row(10_000, 2281, 22.81, 22.0, 23.6), "attack/pgd/8": row(7, 0, 0.0, 0.0, 35.4)}
    header, *lines = results_table({"conditions": conditions}).splitlines()
    for word in ("images", "wrong", "error %"):
        end = header.index(word) + len(word)
        for line in lines:
            assert line[end - 1].isdigit(), (word, line)
            assert line[end] == " "


def test_nothing_measured_yet():
    assert len(results_table({"conditions": {}}).splitlines()) == 1
