"""A file is the old one or the new one, whatever interrupts the writing."""

import json
import os
from pathlib import Path

import pytest

from p2be_exp.atomic import replacing, write_json, write_text


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_new_file_appears_at_the_end(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as part:
        part.write_text("new")
        assert part.parent == tmp_path  # a move between file systems would not be atomic
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert files(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_inside_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def interrupted():
        with replacing(path) as part:
            part.write_text("half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert path.read_text() == "old"
    assert files(tmp_path) == ["a.txt"]


def test_an_error_inside_leaves_no_file_where_there_was_none(tmp_path):
    def interrupted():
        with replacing(tmp_path / "new" / "a.txt"):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert files(tmp_path / "new") == []


def test_the_data_is_on_the_disk_before_the_move(tmp_path, monkeypatch):
    happened = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda handle: happened.append("sync") or fsync(handle))
    monkeypatch.setattr(Path, "replace", lambda self, to: happened.append("move") or replace(self, to))
    write_text(tmp_path / "a.txt", "text")
    assert happened == ["sync", "move"]


def test_a_failing_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert files(tmp_path) == ["a.txt"]


def test_folders_are_made(tmp_path):
    write_text(tmp_path / "a" / "b" / "c.txt", "text")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "text"


def test_permissions_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "text")
        assert os.umask(0o027) == 0o027  # looked at, and left as it was
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640


def test_text_is_utf8_and_json_can_be_read(tmp_path):
    write_text(tmp_path / "a.txt", "λ = 1.0\n")
    assert (tmp_path / "a.txt").read_bytes() == "λ = 1.0\n".encode()
    value = {"a": [1, 2.5, None, "x"], "b": {"c": True}}
    write_json(tmp_path / "a.json", value)
    assert json.loads((tmp_path / "a.json").read_text()) == value
    assert (tmp_path / "a.json").read_text().endswith("}\n")
