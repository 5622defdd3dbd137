"""The folder that is taken away: rows at once, few files, small ones."""

import json

import pytest

from benchmarks.gpu import out as out_module
from benchmarks.gpu.out import Out, parse_row
from benchmarks.gpu.table import PUBLISHED_NOTE, render


def names(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_row_is_on_disk_at_once_in_both_forms(tmp_path):
    out = Out(tmp_path / "out")
    out.add({"table": "A training step", "id": "a", "ms": 1.5, "process": "step", "at": 2.0})
    lines = (tmp_path / "out" / "rows.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"table": "A training step", "id": "a", "ms": 1.5, "process": "step", "at": 2.0}
    ]
    assert "| 1.5 |" in (tmp_path / "out" / "table.md").read_text()
    out.log("something was said")
    assert names(tmp_path / "out") == {"rows.jsonl", "table.md", "log.txt"}


def test_rows_of_an_earlier_call_stay(tmp_path):
    Out(tmp_path).add({"table": "Tests", "id": "a", "outcome": "passed"})
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write('{"table": "Tests", "outco')  # the machine was cut off
    (tmp_path / ".table.md.x.part").touch()
    out = Out(tmp_path)
    assert [row["outcome"] for row in out.rows] == ["passed"]
    assert names(tmp_path) == {"rows.jsonl", "table.md"}


def test_a_row_after_half_a_line_is_not_lost(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"table": "Tests", "outco')
    Out(tmp_path).add({"table": "Tests", "outcome": "failed"})
    assert [row["outcome"] for row in Out(tmp_path).rows] == ["failed"]


def test_an_archive_takes_the_place_of_the_earlier_one(tmp_path):
    out, file = Out(tmp_path / "out"), tmp_path / "rgb.zip"
    for content in (b"first", b"second"):
        file.write_bytes(content)
        assert out.take(file) is None
    assert (tmp_path / "out" / "rgb.zip").read_bytes() == b"second"
    assert names(tmp_path / "out") == {"rgb.zip", "table.md"}


def test_what_would_make_the_folder_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(out_module, "MOST_ARCHIVE", 10)
    out, file = Out(tmp_path / "out"), tmp_path / "rgb.zip"
    file.write_bytes(b"x" * 11)
    assert "11 bytes" in out.take(file)
    assert "rgb.zip" not in names(tmp_path / "out")


def test_there_are_never_more_files_than_allowed(tmp_path):
    out = Out(tmp_path / "out")
    out.add({"table": "Notes"})
    out.log("a line")
    refused = []
    for number in range(7):
        file = tmp_path / f"archive{number}.zip"
        file.write_bytes(b"x")
        refused.append(out.take(file) is not None)
    # One place is kept for the part that grows beside what it replaces.
    assert refused == [False] * 4 + [True] * 3
    assert len(names(tmp_path / "out")) == out_module.MOST_FILES - 1


def test_the_bounds_hold_together():
    texts = 3 * out_module.MOST_TEXT
    assert 5 * out_module.MOST_ARCHIVE + texts <= out_module.MOST_TOTAL
    assert max(out_module.MOST_ARCHIVE, out_module.MOST_TEXT) <= out_module.MOST_BYTES


@pytest.mark.parametrize("name", [".rgb.zip", "rgb.tar", "a b.zip"])
def test_only_archives_are_taken(tmp_path, name):
    out = Out(tmp_path / "out")
    file = tmp_path / "in" / name
    file.parent.mkdir()
    file.write_bytes(b"x")
    assert "not a name" in out.take(file)
    assert names(tmp_path / "out") == {"table.md"}


def test_text_stops_growing_where_it_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(out_module, "MOST_TEXT", 400)
    out = Out(tmp_path)
    for number in range(100):
        out.log(f"line {number}")
        out.add({"table": "Notes", "what": number})
    assert all((tmp_path / name).stat().st_size <= 400 for name in ("log.txt", "rows.jsonl", "table.md"))
    assert (tmp_path / "log.txt").read_text().startswith("line 0\nline 1\n")


def test_what_is_no_row():
    assert parse_row("{'table': 1}") is None
    assert parse_row('{"rows": 3}') is None
    assert parse_row("[tests] {") is None
    assert parse_row('{"table": "Tests"}') == {"table": "Tests"}


# -- the table ---------------------------------------------------------------------------------------------------------


def test_the_last_row_of_an_id_counts_in_the_place_of_the_first():
    rows = [
        {"table": "Training", "id": "rgb", "encoding": "rgb", "epoch": "1 of 9"},
        {"table": "Training", "id": "p2be", "encoding": "p2be", "epoch": "1 of 9", "bits_changed": 3.5},
        {"table": "Training", "id": "rgb", "encoding": "rgb", "epoch": "2 of 9"},
    ]
    table = render(rows).splitlines()
    assert table[-4:] == [
        "| encoding | epoch | bits changed |",
        "|---|---|---|",
        "| rgb | 2 of 9 |  |",
        "| p2be | 1 of 9 | 3.5 |",
    ]


def test_rows_without_an_id_all_stay_and_cannot_break_the_table():
    text = render([{"table": "Notes", "what": "a|b", "note": "one\ntwo"}, {"table": "Notes", "what": "c", "note": ""}])
    assert "| a\\|b | one two |\n| c |  |\n" in text


def test_published_numbers_are_marked_as_published():
    row = {"table": "Encodings", "id": "rgb", "mean": 50.97, "published_50_epochs": 36.2}
    assert PUBLISHED_NOTE in render([row])
    assert "| published 50 epochs |" in render([row])
    assert PUBLISHED_NOTE not in render([{"table": "Encodings", "id": "rgb", "mean": 50.97}])
