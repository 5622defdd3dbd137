"""What is printed is kept in a file; without it nothing is lost."""

import re
import sys

import pytest

from p2be_exp.system.console_log import console_log


def lines(path):
    return path.read_text(encoding="utf-8").splitlines()


def test_both_streams_in_order_behind_what_was_there(tmp_path, capsys):
    path = tmp_path / "console.log"
    path.write_text("before\n")
    with console_log(path, "python train.py seed=1"):
        print("first")
        print("second", file=sys.stderr)
        sys.stdout.writelines(["third\n", "no end"])
    print("afterwards")
    before, head, *rest = lines(path)
    assert before == "before"
    assert re.fullmatch(r"== \d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}  python train\.py seed=1", head)
    assert rest == ["first", "second", "third", "no end"]
    out, err = capsys.readouterr()
    assert (out, err) == ("first\nthird\nno endafterwards\n", "second\n")


def test_of_a_bar_the_last_state(tmp_path):
    path = tmp_path / "console.log"
    with console_log(path, "train"):
        for step in range(3):
            sys.stderr.write(f"\r{step}/3 steps")
        sys.stderr.write("\r3/3")
        sys.stderr.write(" steps\r")
        sys.stderr.write("\n")
        sys.stderr.write("\rnot over")
    assert lines(path)[1:] == ["3/3 steps", "not over"]


def test_what_a_terminal_obeys_is_escaped(tmp_path):
    with console_log(tmp_path / "console.log", "train"):
        print("\x1b]0;title\x07")
    assert lines(tmp_path / "console.log")[1:] == [r"\x1b]0;title\x07"]


def test_the_error_that_ends_it_is_there(tmp_path):
    def fail():
        with console_log(tmp_path / "console.log", "train"):
            print("half", end="")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert lines(tmp_path / "console.log")[1:] == ["half", "ValueError: no"]


def test_nothing_is_written_through_a_link(tmp_path, capsys):
    (tmp_path / "mine").write_text("mine\n")
    (tmp_path / "console.log").symlink_to(tmp_path / "mine")
    with console_log(tmp_path / "console.log", "train"):
        print("shown")
    assert (tmp_path / "mine").read_text() == "mine\n"
    assert capsys.readouterr().out == "shown\n"


def test_a_full_disk_ends_the_file_alone(capsys):
    with console_log("/dev/full", "train"):
        print("shown")
        print("and this")
    assert capsys.readouterr().out == "shown\nand this\n"
