"""A command is called as it was typed; where it was not, as the package is there."""

import sys

import pytest

from p2be_exp.system import program
from p2be_exp.system.program import is_program, name_of, words_of


@pytest.fixture
def started_as(monkeypatch):
    """Called with what was started, and whether the package is installed."""

    def start(file: str, installed: bool = False) -> None:
        monkeypatch.setattr(sys, "argv", [file, "seed=0"])
        monkeypatch.setattr(program, "is_installed", lambda: installed)

    return start


@pytest.mark.parametrize("installed", [False, True])
@pytest.mark.parametrize("file", ["train.py", "/a checkout/train.py", "../evaluate.py"])
def test_a_file_of_the_checkout(started_as, file, installed):
    started_as(file, installed)
    assert words_of("train") == ("python", "train.py")
    assert words_of("evaluate") == ("python", "evaluate.py")
    assert is_program("train") is file.endswith("train.py")


@pytest.mark.parametrize("installed", [False, True])
@pytest.mark.parametrize("file", ["/env/bin/p2be-train", "p2be-evaluate"])
def test_an_installed_program(started_as, file, installed):
    started_as(file, installed)
    assert words_of("train") == ("p2be-train",)
    assert words_of("evaluate") == ("p2be-evaluate",)
    assert is_program("evaluate") is file.endswith("evaluate")


@pytest.mark.parametrize("file", ["/site-packages/p2be_exp/report/__main__.py", "my_script.py", "-c", ""])
def test_something_else_is_told_what_there_is(started_as, file):
    started_as(file, installed=False)
    assert name_of("train") == "train.py"
    started_as(file, installed=True)
    assert name_of("train") == "p2be-train"
    assert not is_program("train")


def test_a_module_is_called_the_same_everywhere(started_as):
    for file in ("train.py", "p2be-train"):
        started_as(file)
        assert name_of("report") == "python -m p2be_exp.report"
