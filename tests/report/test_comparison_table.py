"""A comparison as text and as files: what is said first, the signs, the columns, full precision in the files."""

import csv
import json

import pytest

from p2be_exp.errors import BadInput
from p2be_exp.report.comparison_table import comparison_table, write_comparison

EMPTY = dict.fromkeys(["sd_a", "sd_b", "ci_low", "ci_high", "only_a_wrong", "only_b_wrong", "p", "p_holm"])


def row(name, error_a, error_b, kind="mean", over="", **more):
    values = {"kind": kind, "name": name, "over": over, "error_a": error_a, "error_b": error_b}
    return values | {"difference": error_b - error_a} | EMPTY | more


def run(folder, seed, checkpoint="last"):
    return {"folder": folder, "seed": seed, "checkpoint": checkpoint, "step": 540}


def comparison(kind, rows, **more):
    single = kind == "networks"
    sides = {side: [run(f"sweep/{side}/{seed}", seed) for seed in range(1 if single else 3)] for side in "ab"}
    settings = {"dataset": "digits", "corruption": {"name": "generated"}}
    how = {"kind": "networks" if single else "paired", "seeds_a": [0, 1, 2], "in_part": False, "why_not": None}
    common = {
        "interval": how,
        "kind": kind,
        "n_images": 12_345,
        "resamples": 10_000 if single else None,
        "settings": settings,
    }
    return common | sides | {"one_run": False, "differ_in": {}, "left_out": {}, "rows": rows} | more


OVER = "15 of 15 corruptions x 5 of 5 severities"
SEEDS = [
    row("clean", 1 / 3, 2 / 3, sd_a=0.1, sd_b=0.123, ci_low=-0.051, ci_high=0.718),
    row("mean_corruption_error", 35.5, 34.0, over=OVER, sd_a=0.1, sd_b=0.2, ci_low=-1.9, ci_high=-1.1),
    row("category/noise", 35.5, 35.5, over="3 of 3", sd_a=0.0, sd_b=0.0, ci_low=0.0, ci_high=0.0),
    row("corruption/fog", 100.0, 0.0, over="severity 1", sd_a=0.1, sd_b=0.2, ci_low=-100.004, ci_high=-0.001),
]
IMAGES = [
    row("clean", 5.0, 6.0, ci_low=-0.5, ci_high=2.5),
    row("clean", 5.0, 6.0, kind="condition", only_a_wrong=1234, only_b_wrong=1357, p=0.0123456, p_holm=0.02469),
    row("corruption/fog/3", 5.0, 4.0, kind="condition", only_a_wrong=99, only_b_wrong=1, p=1.6e-28, p_holm=3.2e-28),
]


def lines_of(*arguments, **more):
    return comparison_table(comparison(*arguments, **more)).splitlines()


def test_groups_say_first_what_is_compared():
    lines = lines_of("groups", SEEDS)
    assert lines[0].startswith("two groups of trained networks: difference of the means over seeds, B - A")
    assert lines[1] == "(negative: B has fewer errors)"
    assert lines[3] == "A          sweep/a/{0,1,2} (3 runs, seeds 0 1 2; last checkpoint)"
    assert lines[4] == "B          sweep/b/{0,1,2} (3 runs, seeds 0 1 2; last checkpoint)"
    assert lines[5].startswith("differ in  nothing, nor in the seed")
    assert lines[6] == "data       digits, 12,345 test images; corruptions: generated"
    assert "paired 95 % t intervals over seeds 0 1 2, which both sides have:" in lines
    assert not any("these two networks" in line for line in lines)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"in_part": True}, "B - A is of seeds 0 1 2 alone; A, B and sd are of all seeds"),
        ({"kind": "welch"}, "Welch's 95 % intervals, of sides without a common seed:"),
        ({"kind": None, "why_not": "seed 2 alone"}, "no intervals: seed 2 alone"),
    ],
)
def test_how_the_intervals_were_made(how, told):
    given = comparison("groups", SEEDS)
    given["interval"] |= how
    assert told in comparison_table(given).splitlines()


def test_networks_say_that_they_are_no_methods():
    lines = lines_of("networks", IMAGES)
    assert lines[0].startswith("these two networks: difference of their errors on the same images, B - A")
    assert lines[1] == "(negative: B has fewer errors)"
    assert "It says nothing about the two methods" in lines[2]
    assert lines[4] == "A          sweep/a/0 (one run, seed 0; last checkpoint)"
    assert any("bootstrap over the images, 10,000 resamples" in line for line in lines)
    assert any("Holm's correction for 2 conditions" in line for line in lines)
    assert not any("Welch" in line for line in lines)


NOT_EVEN = "nothing, nor in the seed: trainings of one configuration; machine, threads or versions may differ"


@pytest.mark.parametrize(
    ("seeds", "more", "told"),
    [
        (([0], [0]), {}, NOT_EVEN),
        (([0], [1]), {}, "nothing but the seed"),
        (([0], [0]), {"one_run": True}, "nothing that was trained: two evaluations of one run"),
        (([0], [0]), {"differ_in": {"encoding.M": [8, 16]}}, "encoding.M=8 | 16"),
        (([0], [1]), {"differ_in": {"encoding.M": [8, 16]}}, "seed=0 | 1; encoding.M=8 | 16"),
        (([0, 1], [1, 0]), {}, NOT_EVEN),
        (([0, 1], [2, 3]), {}, "nothing but the seed"),
        (([0, 1], [1, 2]), {}, "nothing but the seed"),
        (([0, 1], [2, 3]), {"differ_in": {"encoding.M": [8, 16]}}, "encoding.M=8 | 16"),
    ],
)
def test_what_the_sides_differ_in(seeds, more, told):
    sides = {side: [run(f"{side}/{seed}", seed) for seed in of] for side, of in zip("ab", seeds, strict=True)}
    kind, rows = ("networks", IMAGES) if len(seeds[0]) == 1 else ("groups", SEEDS)
    assert lines_of(kind, rows, **sides, **more)[5 if kind == "groups" else 6] == f"differ in  {told}"


def test_the_rows_of_groups():
    text = comparison_table(comparison("groups", SEEDS))
    table = {line.split("  ")[0]: line for line in text.splitlines()}
    assert table["clean"].split() == ["clean", "0.33", "0.10", "0.67", "0.12", "+0.33", "-0.05", "to", "+0.72"]
    assert table["mean corruption error"].split()[3:] == [
        *("35.50", "0.10", "34.00", "0.20", "-1.50", "-1.90", "to", "-1.10"),
        *OVER.split(),
    ]
    assert table["noise"].split() == [
        *("noise", "35.50", "0.00", "35.50", "0.00", "0.00", "none:", "no", "spread", "3", "of", "3")
    ]
    assert table["fog"].split()[5:9] == ["-100.00", "-100.00", "to", "0.00"]


def test_the_rows_of_networks():
    lines = lines_of("networks", IMAGES)
    clean_mean, clean_test = (line.split() for line in lines if line.startswith("clean"))
    assert clean_mean == ["clean", "5.00", "6.00", "+1.00", "-0.50", "to", "+2.50"]
    assert clean_test == ["clean", "5.00", "6.00", "+1.00", "1,234", "1,357", "0.0123", "0.0247"]
    (fog,) = (line.split() for line in lines if line.startswith("fog/3"))
    assert fog == ["fog/3", "5.00", "4.00", "-1.00", "99", "1", "1.6e-28", "3.2e-28"]


@pytest.mark.parametrize(("kind", "rows"), [("groups", SEEDS), ("networks", IMAGES)])
def test_columns_line_up(kind, rows):
    blocks = [block.splitlines() for block in comparison_table(comparison(kind, rows)).split("\n\n")]
    tables = [block for block in blocks if block[0].startswith("error %")]
    assert len(tables) == (1 if kind == "groups" else 2)
    for header, *lines in tables:
        ends = [header.index(word) + len(word) for word in ("A", "B", "B - A")]
        ends[1] = header.index("B", ends[0]) + 1
        for line in lines:
            for end in ends:
                assert line[end - 1].isdigit(), (header, line)
                assert line[end : end + 1] in ("", " "), (header, line)


def test_an_empty_line_before_the_categories_and_before_the_corruptions():
    blocks = comparison_table(comparison("groups", SEEDS)).split("\n\n")
    assert [block.split()[0] for block in blocks[-3:]] == ["error", "noise", "fog"]


def test_configurations_that_differ():
    differ = {"encoding.name": ["p2be", "rgb"], "epochs": [12, 20]}
    lines = lines_of("groups", SEEDS, differ_in=differ)
    assert "differ in  encoding.name=p2be | rgb; epochs=12 | 20" in lines
    options = {"encoding.name": ["p2be", "rgb"], "encoding.M": [64, None], "limit_train": [None, 50]}
    assert "differ in  encoding.name=p2be | rgb; limit_train=None | 50" in lines_of("groups", SEEDS, differ_in=options)
    many = {f"key{number}": [0, 1] for number in range(8)}
    (line,) = (line for line in lines_of("groups", SEEDS, differ_in=many) if line.startswith("differ in"))
    assert line.endswith("key5=0 | 1; and 2 more")
    assert "key6" not in line


def test_what_is_left_out():
    left_out = {
        "not in B": ["clean", "corruption/frost/1", "corruption/frost/3", "corruption/fog/5"],
        "neither clean nor a corruption": ["attack/pgd/8", "attack/pgd/16"],
    }
    lines = lines_of("groups", SEEDS, left_out=left_out)
    assert "left out   not in B: clean, frost 1 3, fog 5" in lines
    assert "left out   neither clean nor a corruption: attack/pgd/8, attack/pgd/16" in lines


def test_without_corruptions_their_source_is_not_told():
    assert "data       digits, 12,345 test images" in lines_of("groups", SEEDS[:1])


def test_runs_from_several_places_are_told_whole():
    runs = [run("here/0", 0, "best"), run("there/0", 1, "best")]
    assert "A          here/0, there/0 (2 runs, seeds 0 1; best checkpoint)" in lines_of("groups", SEEDS, a=runs)


def test_the_files_have_every_digit(tmp_path):
    given = comparison("networks", IMAGES + SEEDS)
    write_comparison(given, tmp_path / "new" / "folder")
    folder = tmp_path / "new" / "folder"
    assert sorted(file.name for file in folder.iterdir()) == [".lock", "compare.csv", "compare.json"]
    assert json.loads((folder / "compare.json").read_text()) == given
    rows = list(csv.DictReader((folder / "compare.csv").open(newline="")))
    assert list(rows[0]) == [
        *("kind", "name", "over", "error_a", "error_b", "difference", "sd_a", "sd_b", "ci_low", "ci_high"),
        *("only_a_wrong", "only_b_wrong", "p", "p_holm"),
    ]
    for written, row_ in zip(rows, given["rows"], strict=True):
        assert written == {key: "" if value is None else str(value) for key, value in row_.items()}


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"^out=.*file: cannot be written"):
        write_comparison(comparison("groups", SEEDS), tmp_path / "file")
