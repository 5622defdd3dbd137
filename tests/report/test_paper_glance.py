"""The tables at a glance: every number of the picture is that of its table, with an interval by hand."""

import re

import pytest

from measured_runs import OFFICIAL, cell_at, write_recipe
from p2be_exp.report.paper.cells import fill_tables
from p2be_exp.report.paper.gather import gather
from p2be_exp.report.paper.glance import Dot, Panel, glance, glances, panel_of
from p2be_exp.report.paper.published import PUBLISHED

T_2 = 4.302652729911275
"""Student's quantile at 0.975 with two degrees of freedom."""


def dots_of(panel):
    return {label: dots for label, _, dots in panel.rows}


def test_means_intervals_and_published_values(tables):
    table = tables["table2"]
    panel = panel_of(table)
    assert (panel.title, panel.columns) == ("Table II", ("error under corruptions", "clean error"))
    dot = dots_of(panel)["P2BE, wrn40_2"][0]
    values = cell_at(table, "wrn40_2", "p2be", "corruption").values
    mean = sum(values) / 3
    half = T_2 * (sum((value - mean) ** 2 for value in values) / 2) ** 0.5 / 3**0.5
    assert (dot.ours, dot.low, dot.high) == pytest.approx((mean, mean - half, mean + half))
    assert (dot.published, dot.sd, dot.one_network) == (34.2, 0.2, False)
    assert dots_of(panel)["P2BE, DenseNet"][0] == Dot(published=36.3, sd=0.2)


def test_one_network_has_an_interval_over_its_images(workdir):
    write_recipe("a", "encoding=rgb", {"clean": 22.0, "corruption": 35.0}, corruption=OFFICIAL)
    (table,) = fill_tables(gather(["a"])[0])
    corrupted, clean = dots_of(panel_of(table))["RGB, wrn40_2"]
    assert clean.one_network
    assert corrupted.one_network
    share, n, z = 0.22, 10_000, 1.959963984540054
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    assert (clean.low, clean.high) == pytest.approx((100 * (centre - half), 100 * (centre + half)))
    assert corrupted.low < corrupted.ours < corrupted.high < corrupted.low + 2.2


def test_what_cannot_be_compared_has_a_picture_of_its_own(report):
    assert [picture.name for picture in report.glance] == ["glance", "glance-departing"]
    full, small = report.glance
    assert "Table II, clean error, P2BE, wrn40_2: ours 22." in full.alt
    assert "Table IV, error under LS-PGA, P2BE, CIFAR-100, ConTrain: published 71.5" in full.alt
    assert "AdvTrain: ours" not in full.alt
    assert "not comparable" in small.title
    assert re.search(r"As Table II, clean error, RGB: ours 16\.75 \[0\.00, [\d.]+\], published 22\.2", small.alt)


def test_the_legend_is_whole(report):
    for made in report.glance:
        drawing = made.drawn()
        drawing.draw_without_rendering()
        (legend,) = drawing.legends
        box = legend.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= drawing.bbox.width


def test_a_table_that_the_paper_lacks_is_in_none(workdir):
    write_recipe("a", "regime=standard", {"clean": 22.0})
    assert glances(fill_tables(gather(["a"])[0])) == []


def test_what_is_not_printed_is_not_drawn():
    dots = (Dot(), Dot(50.0, 49.0, 51.0))
    made = glance([Panel("T", ("a", "b"), (("row", ("#000000", "o"), dots),))], "name", "Title")
    assert made.alt == "Title. T, b, row: ours 50.00 [49.00, 51.00]."
    assert PUBLISHED["table4"].numbers["cifar10/advtrain", "p2be", "lspga"].value is None


def test_the_same_table_gives_the_same_picture(tables):
    one, other = (glances([tables["table4"]]) for _ in range(2))
    assert one == other
    assert "Table II," not in one[0].alt
