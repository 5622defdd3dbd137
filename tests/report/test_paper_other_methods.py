"""Other methods as published: beneath ours, in a table of their own, with the note that they are other measurements."""

import csv
import io

import pytest

from measured_runs import write_recipe
from p2be_exp.report.paper.other_methods import WARNING, published_csv, published_methods
from p2be_exp.report.paper.page import page
from p2be_exp.report.paper.write import make_report, report_text, write_report


@pytest.fixture
def report(workdir):
    """Of two runs in two tables of methods, since they are of other lengths."""
    for name, epochs in (("a", 200), ("b", 3)):
        recipe = f"backbone=resnet18 dataset=cifar10 regime=trades encoding=rgb epochs={epochs}"
        write_recipe(name, recipe, {"clean": 20.0}, dataset="cifar10")
    return make_report(["a", "b"])


def test_they_are_shown_once_and_after_ours(report):
    assert [section.table.spec.id for section in report.sections] == ["other_methods"] * 2
    assert [section.published is not None for section in report.sections] == [False, True]
    text = page("T", [], report)
    assert text.index('<section id="other_methods"') < text.index('<section id="other_methods-published"')
    assert text.count('<section id="other_methods-published"') == 1
    assert WARNING not in report_text(report)  # long: on the page alone
    assert "Other methods as published" in report_text(report)


def test_the_note_is_in_every_form(report, tmp_path):
    write_report(report, tmp_path / "out")
    note = "No difference between the two tables is one between methods"
    assert note in WARNING
    for file in ("index.html", "report.md", "tables/other_methods-published.tex"):
        assert note in (tmp_path / "out" / file).read_text()
    assert (tmp_path / "out" / "tables" / "other_methods-published.csv").read_text() == published_csv()


def test_none_of_their_numbers_is_in_our_table(report):
    columns = {name for section in report.sections for _, parts in section.grid.head for name in parts}
    assert columns == {"ours"}


def test_the_csv_has_a_line_for_each_row_of_the_table():
    lines = list(csv.DictReader(io.StringIO(published_csv())))
    rows = [(row, texts) for _, rows in published_methods("x").blocks for row, texts in rows]
    shown = [(line["method"], line["dataset"], line["clean"]) for line in lines]
    assert shown == [(row, texts[0].text, texts[2].text) for row, texts in rows]
    trades = next(line for line in lines if line["method"] == "TRADES")
    assert (trades["network"], trades["clean"], trades["corrupted_or_attacked"]) == ("WRN-34-10", "84.92", "53.08")
    assert trades["source"] == "RobustBench, Linf entries"
    assert "AutoAttack" in trades["measured"]


def test_no_report_of_the_papers_runs_has_them(workdir):
    write_recipe("a", "", {"clean": 20.0})
    (section,) = make_report(["a"]).sections
    assert section.published is None
