"""The report's folder: nothing in it is touched that no report has written."""

import json

import pytest

from measured_runs import write_run
from p2be_exp.errors import BadInput
from p2be_exp.report.paper.folder import check_folder, write_files

FILES = {"report.md": "a", "index.html": "b", "tables/table2.csv": "c", "figures/table2-differences.svg": "d"}


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("[!.]*") if path.is_file()}


def refusal(*arguments):
    with pytest.raises(BadInput) as caught:
        write_files(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_earlier_report_is_replaced_and_nothing_else(tmp_path):
    for name in ("tables/mine.csv", "figures/mine.svg", "notes.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    write_files(tmp_path, FILES)
    (tmp_path / "tables" / "table9.csv").write_text("mine, made later")
    write_files(tmp_path, {"report.md": "new", "index.html": "b"})
    assert names(tmp_path) == {
        "report.md", "index.html", "report.json", "tables/mine.csv", "tables/table9.csv", "figures/mine.svg",
        "notes.md",
    }  # fmt: skip
    assert (tmp_path / "report.md").read_text() == "new"
    assert json.loads((tmp_path / "report.json").read_text())["files"] == ["index.html", "report.md"]


@pytest.mark.parametrize("name", ["report.md", "index.html", "tables/table2.csv"])
def test_a_file_of_other_origin_is_not_replaced(tmp_path, name):
    (tmp_path / "tables").mkdir()
    (tmp_path / name).write_text("mine")
    message = refusal(tmp_path, FILES)
    assert message == f"out={tmp_path}: contains a {name} that is not a report's; choose another folder"
    assert names(tmp_path) == {name}
    if not name.startswith("tables"):  # and known before the runs are read
        with pytest.raises(BadInput, match="choose another folder"):
            check_folder(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"files": 3}', '{"files": [3]}'])
def test_a_report_json_of_other_origin(tmp_path, text):
    (tmp_path / "report.json").write_text(text)
    assert "report.json that is not a report's" in refusal(tmp_path, FILES)
    assert names(tmp_path) == {"report.json"}


def test_a_list_that_names_other_files_removes_none(tmp_path):
    out = tmp_path / "out"
    write_files(out, FILES)
    mine = ("mine.txt", "run.csv", "out/notes.md", "out/tables/mine.txt")
    for name in mine:
        (tmp_path / name).write_text("mine")
    listed = ["../mine.txt", "tables/../../run.csv", str(tmp_path / "mine.txt"), "notes.md", "tables/mine.txt"]
    manifest = json.loads((out / "report.json").read_text())
    (out / "report.json").write_text(json.dumps(manifest | {"files": manifest["files"] + listed}))
    write_files(out, {"report.md": "new"})
    assert names(tmp_path) == {*mine, "out/report.md", "out/report.json"}


@pytest.mark.parametrize(("folder", "told"), [("run", "is a run"), ("run/evaluations/mine", "is an evaluation")])
def test_a_run_is_no_place_for_a_report(tmp_path, folder, told):
    write_run(tmp_path / "run")
    (tmp_path / "run" / "evaluations" / "mine").mkdir(parents=True)
    before = names(tmp_path)
    assert told in refusal(tmp_path / folder, FILES)
    assert names(tmp_path) == before


def test_what_an_interrupted_report_has_written_is_known_as_its_own(tmp_path, monkeypatch):
    def write_or_fail(path, text):
        if path.name == "index.html":
            raise OSError(28, "No space left on device")
        path.write_text(text)

    with monkeypatch.context() as patched:
        patched.setattr("p2be_exp.report.paper.folder.write_text", write_or_fail)
        assert "No space left on device" in refusal(tmp_path, FILES)
    assert "report.md" in names(tmp_path)
    write_files(tmp_path, FILES)
    assert names(tmp_path) == {*FILES, "report.json"}
