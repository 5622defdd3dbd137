"""A file is the old one or the new one, whatever interrupts the writing."""

import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from p2be_exp.errors import ResourceError
from p2be_exp.system.atomic import (
    create_json,
    overwrite_json,
    remove_leftovers,
    replacing,
    reserve,
    write_bytes,
    write_json,
    write_text,
)


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
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="Input/output"):
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


# -- a full disk ------------------------------------------------------------------------------------------------------


@pytest.fixture
def full(monkeypatch):
    """Every new file is one too many; calling it makes space."""
    with monkeypatch.context() as patch:

        def no_space(*arguments, **settings):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patch.setattr("p2be_exp.system.atomic.tempfile.mkstemp", no_space)
        yield patch.undo


@pytest.mark.parametrize("write", [lambda path: write_text(path, "new"), lambda path: write_json(path, [1])])
def test_a_full_disk_is_one_line_that_names_the_file(tmp_path, full, write):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ResourceError) as error:
        write(path)
    assert re.fullmatch(
        rf"{path}: cannot be written: no space left on device \([\d,.]+ MiB left\); make space, then continue",
        str(error.value),
    )
    assert path.read_text() == "old"
    full()
    write(path)
    assert path.read_text() != "old"


def test_so_is_one_that_becomes_full_while_it_is_written(tmp_path):
    def writing():
        with replacing(tmp_path / "a.txt") as part:
            part.write_text("half")
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    with pytest.raises(ResourceError, match="quota"):
        writing()
    assert files(tmp_path) == []


def test_what_else_the_system_says_is_left_as_it_is(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        write_text(tmp_path / "file" / "a.txt", "text")


@pytest.mark.parametrize("value", [{"state": "failed"}, {"state": "running", "more": list(range(50))}])
def test_the_last_word_is_written_over_the_old_one(tmp_path, full, value):
    path = tmp_path / "status.json"
    path.write_text(json.dumps({"state": "running", "alive": "a long text" * 20}))
    overwrite_json(path, value)
    assert json.loads(path.read_text()) == value


@pytest.mark.parametrize("links", [True, False])
def test_of_several_that_create_a_file_one_succeeds(tmp_path, monkeypatch, links):
    def refuse(*arguments):
        raise PermissionError(errno.EPERM, "no links here")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    outcomes, start = [], threading.Barrier(4)

    def create(number):
        start.wait()
        try:
            create_json(tmp_path / "run.json", {"number": number})
            outcomes.append(number)
        except FileExistsError:
            pass

    if links:
        workers = [threading.Thread(target=create, args=(number,)) for number in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    else:
        start = threading.Barrier(1)
        create(0)
        create(1)
    (winner,) = outcomes
    assert json.loads((tmp_path / "run.json").read_text()) == {"number": winner}
    assert files(tmp_path) == ["run.json"]


def test_without_an_old_one_it_is_not_said(tmp_path, full):
    overwrite_json(tmp_path / "new.json", {"state": "failed"})
    assert files(tmp_path) == []


def test_a_large_file_is_written_whole(tmp_path, monkeypatch):
    """However much of it the system takes at a time."""
    data, write = bytes(range(256)) * 40, io.FileIO.write

    class Slow(io.FileIO):
        def write(self, rest):
            return write(self, rest[:1000])

    monkeypatch.setattr(Path, "open", lambda self, mode, buffering=0: Slow(self, mode))
    write_bytes(tmp_path / "a", data)
    monkeypatch.undo()
    assert (tmp_path / "a").read_bytes() == data


def test_space_is_taken_and_what_is_there_stays(tmp_path):
    file = tmp_path / "a"
    file.write_bytes(b"text")
    reserve(file, 1 << 20)
    assert file.stat().st_size == 1 << 20
    assert file.stat().st_blocks * 512 >= 1 << 20
    assert file.read_bytes()[:5] == b"text\0"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EOPNOTSUPP])
def test_space_that_cannot_be_taken(tmp_path, monkeypatch, number):
    def refuse(*arguments):
        raise OSError(number, os.strerror(number))

    (tmp_path / "a").touch()
    monkeypatch.setattr(os, "posix_fallocate", refuse)
    if number == errno.ENOSPC:
        with pytest.raises(ResourceError, match="no space left"):
            reserve(tmp_path / "a", 10)
    else:
        reserve(tmp_path / "a", 10)


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    killed = subprocess.run(
        [sys.executable, "-c", "import os, pathlib, signal, sys\nfrom p2be_exp.system.atomic import replacing\n"
         "with replacing(pathlib.Path(sys.argv[1], 'last.ckpt')):\n    os.kill(os.getpid(), signal.SIGKILL)", tmp_path]
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL
    (left,) = files(tmp_path)
    others = [".snow.npy.part", ".defocus_blur.npy.part", "a.part", ".hidden", "x.abcdefgh.part"]
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / left).touch()
    remove_leftovers(tmp_path, tmp_path / "none")
    assert files(tmp_path) == sorted([*others, "below"])
    assert files(tmp_path / "below") == [left]


def test_a_byte_that_is_no_utf_8_has_one_spelling_and_comes_back(tmp_path):
    name = os.fsdecode(b"caf\xe9 \xc3\xb6l")  # Latin-1 and UTF-8
    write_text(tmp_path / "a.txt", f"{name}\n")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "caf\\udce9 \u00f6l\n"
    write_json(tmp_path / "a.json", {name: [name]})
    assert "caf\\udce9 " in (tmp_path / "a.json").read_text(encoding="utf-8")
    (back,) = json.loads((tmp_path / "a.json").read_text(encoding="utf-8")).items()
    assert back == (name, [name])
    overwrite_json(tmp_path / "a.json", name)
    assert os.fsencode(json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))) == b"caf\xe9 \xc3\xb6l"


def test_what_is_called_like_a_leftover_and_is_a_folder_stays(tmp_path):
    (tmp_path / ".a.abcd1234.part").mkdir()
    (tmp_path / ".b.abcd1234.part").symlink_to(tmp_path)
    (tmp_path / ".c.abcd1234.part").touch()
    remove_leftovers(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [".a.abcd1234.part"]
