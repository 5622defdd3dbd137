"""The forms of the report's tables: the same numbers in each, and every text shown as it is."""

import csv
import re
from dataclasses import replace

import pytest

from measured_runs import cell_at
from p2be_exp.report.difference import Compared
from p2be_exp.report.paper.as_latex import as_latex
from p2be_exp.report.paper.as_latex import escaped as latex
from p2be_exp.report.paper.as_markdown import as_markdown
from p2be_exp.report.paper.as_text import as_text
from p2be_exp.report.paper.grid import FEWER, MISSING, MORE, difference, grids
from p2be_exp.report.paper.write import write_report

SEEDS = ((0, 1), (0, 1))


def numbers(text):
    return re.findall(r"\d+\.\d+ ± \d+\.\d+ \(\d+\)", text)


def cells(grid):
    return [text for _, rows in grid.blocks for _, texts in rows for text in texts]


def test_the_same_numbers_in_every_form(words):
    for grid in words.values():
        expected = sorted(found for cell in cells(grid) for found in numbers(cell.text))
        assert expected
        assert sorted(numbers(as_text(grid))) == expected
        assert sorted(numbers(as_markdown(grid).replace("\\", ""))) == expected
        assert sorted(numbers(as_latex(grid).replace(r"$\pm$", "±"))) == expected


def test_what_a_number_says(tables, words):
    cell = cell_at(tables["table2"], "wrn40_2", "p2be", "corruption")
    shown = [text.text for label, rows in words["table2"].blocks[:1] for row, texts in rows for text in texts[:4]
             if row == "P2BE"]  # fmt: skip
    assert shown[0] == f"{cell.mean:.2f} ± {cell.sd:.2f} (3)"
    assert shown[1].endswith("] p")
    assert shown[2] == "34.2 ± 0.2"
    assert shown[3].replace("\N{MINUS SIGN}", "-") == f"{cell.mean - 34.2:+.2f}"


def test_what_is_missing_is_a_dash_and_the_word(tables, words):
    for name, table in tables.items():
        empty = sum(not cell.runs for cell in table.cells)
        assert sum(text.missing for text in cells(words[name])) == empty
        assert as_markdown(words[name]).count(MISSING) == empty
    assert cell_at(tables["table2"], "wrn40_2", "thermometer", "clean").mean is None
    assert not any(text.text.startswith("0.00 (") for text in cells(words["table2"]))


@pytest.mark.parametrize(
    ("low", "high", "value", "shown"),
    [
        (-1.5, -0.5, -1.0, f"{FEWER} −1.00 [−1.50, −0.50] w"),
        (0.5, 1.5, 1.0, f"{MORE} +1.00 [+0.50, +1.50] w"),
        (-1.5, 0.5, -0.5, "−0.50 [−1.50, +0.50] w"),
        (-1.0, -1.0, -1.0, "−1.00 (no spread)"),
    ],
)
def test_a_triangle_only_where_the_interval_does_not_hold_0(low, high, value, shown):
    assert difference(Compared("welch", value, low, high, SEEDS)) == shown


def test_small_scale_is_said_loudly(words):
    small = words["table2-departing-1"]
    for form in (as_text, as_markdown, as_latex):
        text = " ".join(form(small).split())
        assert "Not comparable with the paper" in text
        assert "data set digits" in text
        assert "epochs = 3 instead of 200" in text
        assert "network wrn16" in text.replace("\\", "")  # no published table has it
    assert all("published" not in part or "not comparable" in part for _, parts in small.head for part in parts)
    assert not words["table2"].warning


def test_what_was_measured_is_said(words):
    sentence = words["table2"].sentence
    for part in ("full scale", "8 runs on CIFAR-100", "10,000 test images", "the published files",
                 "15 of 15 corruptions x 5 of 5 severities", "preset official", "seeds 0 1 2", "torch 2.15.0",
                 "commit 0123456", "18 of 24 cells are missing"):  # fmt: skip
        assert part in sentence
    assert (
        "made here, not the published files, 1 of 15 corruptions x 1 of 5 severities"
        in words["table2-departing-1"].sentence
    )


def test_the_papers_inconsistencies_are_footnotes(words):
    assert "35.4, 37.5, 34.2" in " ".join(words["table2"].notes)
    assert "N/A" in " ".join(words["table4"].notes)
    assert "not a measure of robustness" in " ".join(words["table4"].notes)


def test_latex_escapes():
    assert latex("a_b & 50 % {x} #1 $2 ^~ \\ <|>") == (
        r"a\_b \& 50 \% \{x\} \#1 \$2 \textasciicircum{}\textasciitilde{} \textbackslash{} "
        r"\textless{}\textbar{}\textgreater{}"
    )
    assert latex("− ± — é") == r"$-$ $\pm$ --- ?"


def test_latex_is_well_formed(words):
    for grid in words.values():
        text = as_latex(grid)
        assert text.isascii()
        plain = re.sub(r"\\.", "", text)
        assert plain.count("{") == plain.count("}")
        assert text.count(r"\begin") == text.count(r"\end") == 3  # the table, its tabular, its notes
        wide = 1 + sum(len(parts) for _, parts in grid.head)
        body = text.split(r"\bottomrule")[0]
        rows = [line for line in body.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {wide - 1}


def test_markdown_is_a_table(words):
    hostile = replace(words["table2"], corner="a|b *c* <d>")
    table = [line for line in as_markdown(hostile).splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1
    assert r"a\|b \*c\* \<d\>" in table[0]


def test_ids_are_unique(tables):
    again = grids([*tables.values(), *tables.values()])
    assert len({grid.id for grid in again}) == len(again)
    assert [grid.id for grid in again if grid.id.startswith("table2")] == [
        "table2",
        "table2-departing-1",
        "table2-2",
        "table2-departing-2",
    ]
    assert list(tables) == ["table2", "table2-departing-1", "table4"]


def test_files(report, written):
    names = {path.relative_to(written).as_posix() for path in written.rglob("*") if path.is_file()}
    expected = {f"tables/{section.grid.id}.{ending}" for section in report.sections for ending in ("csv", "tex")}
    assert names >= expected | {"index.html", "report.md", "runs.html"}
    shown = set(re.findall(r"\]\((figures/[^)]+)\)", (written / "report.md").read_text()))
    assert shown == {name for name in names if name.startswith("figures/")} != set()
    with (written / "tables" / "table4.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["published_source"] == "Kishida & Nakayama, ICPR 2022, Table IV"


def test_runs_that_are_not_finished_are_in_the_report(written):
    for name in ("index.html", "report.md"):
        text = (written / name).read_text().replace("\\", "")
        assert "table2/unfinished" in text
        assert "not finished (its status is" in text


def test_a_report_takes_the_place_of_an_earlier_one(report, tmp_path):
    def names():
        return {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}

    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "mine.csv").write_text("")
    write_report(report, tmp_path)
    before = names()
    (tmp_path / "figures" / "mine.svg").write_text("")
    kept = [section for section in report.sections if section.grid.id != "table4"]
    write_report(replace(report, sections=kept), tmp_path)
    assert before - names() >= {"tables/table4.csv", "tables/table4.tex", "figures/table4-differences.svg"}
    assert names() >= {"tables/table2.csv", "tables/mine.csv", "figures/mine.svg"}
