"""The published numbers: transcribed once more here, from the tables row by row, and the paper against itself."""

from statistics import fmean

import pytest

from p2be_exp.corruptions.names import TEST
from p2be_exp.report.paper.measures import MEASURES
from p2be_exp.report.paper.published import ENCODINGS, MIXTURES, NETWORKS, OTHER_METHODS, PUBLISHED
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
TABLE_3 = """
rgb 22.6/68.2: 66 66 65 69 82 65 66 73 73 62 58 63 80 67 70
onehot 23.5/66.1: 63 63 59 68 78 64 67 73 72 65 59 64 74 56 68
thermometer 22.9/66.2: 62 62 61 69 79 65 67 71 71 63 57 63 78 61 68
p2be 23.3/65.6: 62 61 61 67 77 63 64 71 71 63 58 63 74 61 67
"""
CORRUPTIONS = """gaussian_noise shot_noise impulse_noise defocus_blur glass_blur motion_blur zoom_blur snow frost fog
brightness contrast elastic_transform pixelate jpeg_compression"""
# 50/100/200 epochs of WRN-40-2; DenseNet; ResNeXt.
TABLE_6 = """
p2be 35.9/34.4/34.2; 40.3/38.1/36.3; 33.9/33.6/32.5
rgb 36.2/34.9/35.4; 39.6/37.6/37.5; 34.6/33.5/34.2
onehot 36.3/34.5/34.4; 40.1/37.5/36.6; 34.1/33.1/33.2
thermometer 36.3/35.1/35.1; 39.7/37.9/36.9; 33.8/34.3/33.9
"""
FIRST = {"table2": "corruption", "table4": "lspga", "table5": "lspga", "table7": "corruption"}
ROUNDED_CE = {"rgb": 68.2, "onehot": 66.1, "thermometer": 66.2, "p2be": 65.6}


def value(table, *place):
    return PUBLISHED[table].numbers[place].value


@pytest.mark.parametrize("line", [line for line in ROWS.replace("\n", ";").split(";") if line.strip()])
def test_rows(line):
    table, block, row, first, clean = line.split()
    assert value(table, block, row, FIRST[table]) == float(first)
    assert value(table, block, row, "clean") == float(clean)


@pytest.mark.parametrize("line", TABLE_3.strip().splitlines())
def test_table_3(line):
    head, ces = line.split(": ")
    row, numbers = head.split()
    clean, mce = map(float, numbers.split("/"))
    assert (value("table3", "resnet50", row, "clean"), value("table3", "resnet50", row, "mce")) == (clean, mce)
    for name, ce in zip(CORRUPTIONS.split(), ces.split(), strict=True):
        assert value("table3_ce", "resnet50", name, row) == float(ce)


@pytest.mark.parametrize("line", TABLE_6.strip().splitlines())
def test_table_6(line):
    row, _, networks = line.partition(" ")
    for block, errors in zip(("wrn", "densenet", "resnext"), networks.split("; "), strict=True):
        found = "/".join(str(value("table6", block, row, epochs)) for epochs in ("50", "100", "200"))
        assert found == errors


def test_how_many_there_are():
    counts = {name: len(table.numbers) for name, table in PUBLISHED.items()}
    assert counts == {"table2": 24, "table3": 8, "table3_ce": 60, "table4": 24, "table5": 8, "table6": 36, "table7": 8,
                      "figure2": 0, "figure3": 0}  # fmt: skip


def test_what_the_paper_does_not_give():
    absent = {(name, *key) for name, table in PUBLISHED.items() for key, each in table.numbers.items()
              if each.value is None}  # fmt: skip
    blocks = ("cifar10/advtrain", "cifar100/advtrain")
    assert absent == {("table4", block, "p2be", column) for block in blocks for column in ("lspga", "clean")}


def test_standard_deviations():
    numbers, blocks = PUBLISHED["table2"].numbers, ("wrn", "densenet", "resnext")
    found = [numbers[block, row, "corruption"].sd for row in ENCODINGS for block in blocks]
    assert found == [0.3, 0.1, 0.3, 0.4, 0.2, 0.3, 0.2, 0.2, 0.3, 0.2, 0.2, 0.2]
    printed = {name for name, table in PUBLISHED.items() if any(each.sd is not None for each in table.numbers.values())}
    assert printed == {"table2"}


def test_corruption_errors_and_their_mean():
    for row, mce in ROUNDED_CE.items():
        mean = fmean(value("table3_ce", "resnet50", name, row) for name in TEST)
        assert value("table3", "resnet50", row, "mce") == mce
        assert abs(mean - mce) < 0.3
        assert f"{mean:.1f}" in PUBLISHED["table3_ce"].notes[0]


def test_table_6_at_200_epochs_against_table_2():
    differ = {
        (block, row)
        for block in ("wrn", "densenet", "resnext")
        for row in ROUNDED_CE
        if value("table6", block, row, "200") != value("table2", block, row, "corruption")
    }
    assert differ == {("wrn", "rgb"), ("densenet", "rgb"), ("resnext", "rgb"), ("resnext", "p2be")}
    assert "35.4, 37.5, 34.2" in PUBLISHED["table6"].notes[0]


def test_tables_that_share_numbers():
    for dataset in ("cifar10", "cifar100"):
        for column in ("lspga", "clean"):
            assert value("table5", dataset, "on", column) == value("table4", f"{dataset}/contrain", "p2be", column)


def test_names_are_those_of_options_and_measures():
    """Else a number would stand beside no cell."""
    datasets, regimes = {"cifar10", "cifar100"}, {"contrain", "advtrain"}
    known = {*NETWORKS, *ENCODINGS, *MEASURES, *TEST, *datasets, *regimes}
    of_its_own = {"table5": {"off", "on"}, "table6": {"50", "100", "200"}, "table7": {"learned", "fixed"}}
    for name, table in PUBLISHED.items():
        names = {part for text in (*table.blocks, *table.rows, *table.columns) for part in text.split("/")}
        assert names - known == of_its_own.get(name, set())


def test_every_published_table_is_in_the_report():
    assert {spec.id for spec in TABLES} >= {name for name, table in PUBLISHED.items() if table.numbers}


# -- other methods ----------------------------------------------------------------------------------------------------

# Clean / shifted by kind of measurement, transcribed once more.
OTHERS = {
    "weights were selected on the test set": "3.50/12.31 19.46/35.73",
    "RobustBench, corruption entries, as errors": "4.2/10.91 21.1/34.86 5.03/13.40",
    "accuracy and mean accuracy under": "96.56/92.78 96.73/92.78 94.75/89.60 95.83/89.09 93.06/89.05 95.08/88.82 "
    "94.78/73.46 81.16/72.06 79.93/71.08 77.60/68.28 78.90/65.14 76.28/64.11",
    "hendrycks/robustness": "23.1/75.3 22.4/69.6 23.85/76.7 22.47/65.3",
    "mCE under ImageNet-C RobustBench": "/59.43 /60.04 /64.17 /76.38",
    "AutoAttack": "93.68/73.71 93.60/75.28 93.27/71.07 93.25/70.69 92.44/67.31 95.19/70.08 95.23/68.06 92.16/67.73 "
    "85.31/57.09 89.01/63.35 88.61/61.04 85.36/56.17 84.92/53.08 87.50/56.29 85.34/53.42 87.14/44.04 75.22/42.66 "
    "83.08/41.91 73.85/39.18 85.21/38.72 80.18/35.15 65.76/31.91 65.93/32.52 60.38/28.86",
    "FGSM": "/31.75",
    "accuracy an index": "80.34/",
}


@pytest.mark.parametrize("kind", OTHERS)
def test_numbers_of_other_methods(kind):
    kinds = {f"{each.measured} {each.source}": each for each in OTHER_METHODS}
    (found,) = [each for text, each in kinds.items() if kind in text]
    numbers = [f"{row.clean}/{row.shifted.partition(' ')[0]}" for row in found.rows]
    assert numbers == OTHERS[kind].split()


def test_other_methods_say_what_was_measured_on_what_and_where_it_is_printed():
    assert len(OTHER_METHODS) == len(OTHERS)
    for each in OTHER_METHODS:
        assert each.source
        assert any(word in each.measured for word in ("error", "accuracy", "mCE"))
        assert all(row.method and row.dataset for row in each.rows)


MIXED = {
    "RobustBench": "95.23/68.06 95.19/70.08 93.25/70.69 93.27/71.07 85.21/38.72 80.18/35.15 83.08/41.91 75.22/42.66",
    "Linf 8/255, on 2,000 images": "97.25/0.0 97/1.65 97/17.1 94.6/46.5 90.5/54.1 85.55/57.5",
    "L2 0.5, on 2,000 images": "95.1/3.05 94.95/51.55 91.85/64.35 89.8/66.64 85.3/64.65",
}


def test_numbers_of_mixtures():
    kinds = {f"{each.measured} {each.source}": each for each in MIXTURES}
    assert len(kinds) == len(MIXED)
    for kind, numbers in MIXED.items():
        (found,) = [each for text, each in kinds.items() if kind in text]
        assert [f"{row.clean}/{row.shifted.partition(' ')[0]}" for row in found.rows] == numbers.split()


def test_mixtures_on_robustbench_are_those_among_the_other_methods():
    (robustbench,) = [each for each in OTHER_METHODS if "AutoAttack" in each.measured]
    theirs = {(row.dataset, row.clean, row.shifted) for row in robustbench.rows}
    assert {(row.dataset, row.clean, row.shifted) for row in MIXTURES[0].rows} <= theirs
