"""Options that have become examples: told by one line, found in configurations that may be anything."""

import doctest

import pytest

from commandline import ROOT
from p2be_exp.config import former
from p2be_exp.registry import OPTIONS


def test_the_line_names_what_is_there():
    assert doctest.testmod(former).failed == 0
    for (group, name), module in former.FORMER.items():
        assert name not in OPTIONS[group]
        assert (ROOT / "examples" / module / f"{module}.py").is_file()
        assert (ROOT / "examples" / module / "conf" / group / f"{name}.yaml").is_file()
    assert former.where_now("attack", "pgd") is None
    assert former.where_now("encoding", "greedy") is None


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"attack": {"name": "greedy"}}, [("attack", "greedy")]),
        ({"attack": {"name": "pgd"}, "regime": {"attack": {"name": "greedy"}}}, [("attack", "greedy")]),
        ({"attack": {"name": "greedy"}, "regime": {"attack": {"name": "greedy"}}}, [("attack", "greedy")]),
        ({"attack": {"name": "pgd"}, "regime": {"name": "augmix"}}, []),
        ({"attack": "greedy", "regime": None}, []),
        ({"attack": {"name": ["greedy"]}}, []),
        ({}, []),
    ],
)
def test_options_of_a_run(config, found):
    assert former.former_options(config) == found
