"""The published numbers: transcribed once more here, from the tables row by row, and the paper against itself."""

from statistics import fmean

import pytest

from p2be_exp.corruptions.names import TEST
from p2be_exp.report.paper.published import FOOTNOTES, NUMBERS, PUBLISHED
from p2be_exp.report.paper.tables import TABLES

# Kishida & Nakayama, ICPR 2022: rows as they stand in the tables.
ROWS = """
table2 wrn rgb 35.2 22.2; table2 densenet rgb 37.3 22.6; table2 resnext rgb 33.9 20.5
table2 wrn onehot 34.4 23.9; table2 densenet onehot 36.6 23.9; table2 resnext onehot 33.2 21.8
table2 wrn thermometer 35.1 22.8; table2 densenet thermometer 36.9 23.0; table2 resnext thermometer 33.9 21.3
table2 wrn p2be 34.2 22.8; table2 densenet p2be 36.3 23.3; table2 resnext p2be 32.6 20.7
table4 cifar10/contrain onehot 66.1 11.6; table4 cifar10/contrain thermometer 48.0 16.0
table4 cifar10/contrain p2be 45.3 15.7; table4 cifar10/advtrain onehot 52.1 16.3
table4 cifar10/advtrain thermometer 51.6 15.0; table4 cifar100/contrain onehot 91.4 38.1
table4 cifar100/contrain thermometer 73.0 42.7; table4 cifar100/contrain p2be 71.5 42.2
table4 cifar100/advtrain onehot 75.2 41.7; table4 cifar100/advtrain thermometer 75.3 41.0
table5 cifar10 off 59.3 12.0; table5 cifar10 on 45.3 15.7; table5 cifar100 off 72.5 43.4; table5 cifar100 on 71.5 42.2
table7 cifar10 learned 10.3 4.8; table7 cifar10 fixed 10.1 4.7
table7 cifar100 learned 34.2 23.2; table7 cifar100 fixed 33.9 22.8
"""
FIRST = {"table2": "corruption", "table4": "lspga", "table5": "lspga", "table7": "corruption"}
ROUNDED_CE = {"rgb": 68.2, "onehot": 66.1, "thermometer": 66.2, "p2be": 65.6}


def value(*place):
    return PUBLISHED[place].value


@pytest.mark.parametrize("line", [line for line in ROWS.replace("\n", ";").split(";") if line.strip()])
def test_rows(line):
    table, block, row, first, clean = line.split()
    assert value(table, block, row, FIRST[table]) == float(first)
    assert value(table, block, row, "clean") == float(clean)


def test_how_many_there_are():
    counts = {name: sum(key[0] == name for key in PUBLISHED) for name in NUMBERS}
    assert counts == {"table2": 24, "table3": 8, "table3_ce": 60, "table4": 24, "table5": 8, "table6": 36, "table7": 8,
                      "figure2": 0, "figure3": 0}  # fmt: skip


def test_what_the_paper_does_not_give():
    absent = {key for key, each in PUBLISHED.items() if each.value is None}
    blocks = ("cifar10/advtrain", "cifar100/advtrain")
    assert absent == {("table4", block, "p2be", column) for block in blocks for column in ("lspga", "clean")}


def test_standard_deviations():
    found = [PUBLISHED["table2", block, row, "corruption"].sd for row in ("rgb", "onehot", "thermometer", "p2be")
             for block in ("wrn", "densenet", "resnext")]  # fmt: skip
    assert found == [0.3, 0.1, 0.3, 0.4, 0.2, 0.3, 0.2, 0.2, 0.3, 0.2, 0.2, 0.2]
    assert {key[0] for key, each in PUBLISHED.items() if each.sd is not None} == {"table2"}


def test_corruption_errors_and_their_mean():
    for row, mce in ROUNDED_CE.items():
        mean = fmean(value("table3_ce", "resnet50", name, row) for name in TEST)
        assert value("table3", "resnet50", row, "mce") == mce
        assert abs(mean - mce) < 0.3
        assert f"{mean:.1f}" in FOOTNOTES["table3_ce"][0]
    # One in the middle, to see that the order of the corruptions is kept.
    assert [value("table3_ce", "resnet50", "glass_blur", row) for row in ROUNDED_CE] == [82, 78, 79, 77]
    assert value("table3_ce", "resnet50", "jpeg_compression", "p2be") == 67


def test_table_6_at_200_epochs_against_table_2():
    differ = {
        (block, row)
        for block in ("wrn", "densenet", "resnext")
        for row in ROUNDED_CE
        if value("table6", block, row, "200") != value("table2", block, row, "corruption")
    }
    assert differ == {("wrn", "rgb"), ("densenet", "rgb"), ("resnext", "rgb"), ("resnext", "p2be")}
    assert "35.4, 37.5, 34.2" in FOOTNOTES["table6"][0]
    assert [value("table6", "densenet", "p2be", epochs) for epochs in ("50", "100", "200")] == [40.3, 38.1, 36.3]


def test_tables_that_share_numbers():
    for dataset in ("cifar10", "cifar100"):
        for column in ("lspga", "clean"):
            assert value("table5", dataset, "on", column) == value("table4", f"{dataset}/contrain", "p2be", column)


def test_every_number_has_a_place_in_the_report():
    specs = {spec.id: spec for spec in TABLES}
    for table, block, row, column in PUBLISHED:
        assert block in specs[table].blocks
        assert row in specs[table].rows
        assert column in specs[table].columns
