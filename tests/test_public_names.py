"""The names of ``p2be_exp`` itself: all are there, on one page, and none costs an import before it is used."""

import re

import pytest
import torch

import p2be_exp
from commandline import ROOT, finish, start

PAGE = (ROOT / "docs/library.md").read_text()

SCRIPT = """
import sys

import p2be_exp

names = dir(p2be_exp)
assert not {"torch", "numpy", "omegaconf", "hydra"} & set(sys.modules), sorted(sys.modules)
print(*names)
"""


def test_every_name_is_there():
    for name in p2be_exp.__all__:
        assert callable(getattr(p2be_exp, name)), name
    assert sorted(p2be_exp._HOMES) == sorted(p2be_exp.__all__)
    with pytest.raises(AttributeError, match="module 'p2be_exp' has no attribute 'nothing'"):
        _ = p2be_exp.nothing


def test_dir_shows_them_and_imports_nothing(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    outcome = finish(start(tmp_path / "script.py", cwd=tmp_path))
    assert outcome.code == 0, outcome.err
    assert outcome.out.split() == sorted([*p2be_exp.__all__, "__version__"])


def test_the_page_lists_them():
    assert sorted(re.findall(r"^\| `(\w+)` \|", PAGE, re.M)) == sorted(p2be_exp.__all__)


def test_the_page_s_python_runs(workdir, capsys):
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S):
        exec(block, names)
    clean = float(re.fullmatch(r"error ([\d.]+) % of 500 images\n", capsys.readouterr().out)[1])
    with torch.no_grad():
        now = names["model"](names["images"]).argmax(1) != names["labels"]
    assert clean < 10
    assert names["broken"].sum() > now.sum() + 10  # the gradient of the twin leads somewhere


def test_lists_are_lists_of_names():
    lists = [getattr(p2be_exp, name)() for name in p2be_exp.__all__ if name.startswith("list_")]
    for names in lists:
        assert names == sorted(names)
        assert names
        assert all(isinstance(name, str) for name in names)
