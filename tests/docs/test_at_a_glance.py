"""The picture of the published tables: its own numbers are those that RESULTS.md tells."""

import importlib.util
import re

import pytest

from commandline import ROOT
from p2be_exp.report.paper.tables import TABLES

TOLD = {"rgb": "RGB", "onehot": "one-hot", "thermometer": "thermometer", "p2be": "P2BE, M = 64"}


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("at_a_glance", ROOT / "docs/images/at_a_glance.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("encoding", TOLD)
def test_what_was_measured(script, encoding):
    (corrupted, low, high), (clean, *_) = script.measured(ROOT / script.RUNS / f"{encoding}.results.csv")
    text = (ROOT / "benchmarks" / "RESULTS.md").read_text()
    row = re.search(rf"^\| {TOLD[encoding]} \| (\d+\.\d\d) \|(?: \d+\.\d\d \|){{4}} (\d+\.\d\d) \|", text, re.MULTILINE)
    assert (f"{clean:.2f}", f"{corrupted:.2f}") == row.groups()
    assert low < corrupted < high


def test_what_was_published(script):
    table2 = TABLES[0]
    dots = {label: dots for label, _, dots in script.published(table2).rows}
    assert (dots["P2BE, ResNeXt"][0].published, dots["P2BE, ResNeXt"][0].sd) == (32.6, 0.2)
    assert len(dots) == 12
    assert all(dot.ours is None for of in dots.values() for dot in of)
