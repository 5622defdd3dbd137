"""Keys of a table: what they are as texts, and which tables have rows along a setting."""

import doctest

import pytest

from p2be_exp.report.paper import keys
from p2be_exp.report.paper.keys import Key, Measure, Setting, natural
from p2be_exp.report.paper.tables import TABLES

SPECS = {spec.id: spec for spec in TABLES}


def test_the_examples():
    assert doctest.testmod(keys).failed == 0


@pytest.mark.parametrize(
    ("table", "key", "label"),
    [
        ("table2", Key("p2be", "M = 32"), "P2BE, M = 32"),
        ("table7", Key("fixed", "learned on digits"), "a fixed table, learned on digits"),
        ("figure3", Key(setting=Setting("M", 16)), "M = 16"),
        ("table2", Key("mine"), "mine"),
    ],
)
def test_rows_in_words(table, key, label):
    assert SPECS[table].row_label(key) == label


def test_blocks_in_words():
    block = Key("p2be", "lambda = 0.1", ("wrn40_2", "cifar100", "contrain"), Setting("M", 32))
    assert SPECS["m_lambda"].block_label(block) == "P2BE, lambda = 0.1, wrn40_2, CIFAR-100, ConTrain, M = 32"
    assert SPECS["table4"].block_label(Key("cifar10", within=("advtrain",))) == "CIFAR-10, AdvTrain"


def test_lengths_in_words():
    assert [SPECS["table6"].column_label(Key(length)) for length in ("1", "50")] == ["1 epoch", "50 epochs"]


def test_numbers_in_keys_are_sorted_as_numbers():
    lengths = [Key(setting=Setting("M", value)) for value in (128, 16, 64)]
    assert [key.setting.value for key in sorted(lengths, key=natural)] == [16, 64, 128]


def test_measures_as_texts():
    assert [str(Measure("mce")), str(Measure("ce", "fog"))] == ["mce", "ce:fog"]
