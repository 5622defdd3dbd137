"""A warning is printed once per command, and by rank 0 alone; it is never lost."""

import pytest

from p2be_exp.config.plugin_warnings import hold_warnings, start_over, warn, warn_as


@pytest.fixture(autouse=True)
def _of_one_command():
    start_over()
    yield
    start_over()


@pytest.fixture
def printed(capsys):
    return lambda: capsys.readouterr().err.splitlines()


def test_a_warning_is_printed_once_per_command(printed):
    for _ in range(2):
        warn("one")
    assert printed() == ["warning: one"]
    start_over()
    warn("one")
    assert printed() == ["warning: one"]


@pytest.mark.parametrize(("rank", "expected"), [(0, ["warning: early", "warning: late"]), (1, []), (3, [])])
def test_rank_0_alone_prints(printed, rank, expected):
    with hold_warnings():
        warn("early")
        assert printed() == []
        warn_as(rank)
    warn("late")
    warn("early")
    assert printed() == expected


def test_what_is_held_when_a_command_is_refused_is_printed(printed):
    @hold_warnings()
    def command():
        warn("one")
        raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        command()
    assert printed() == ["warning: one"]


def test_the_next_command_in_this_process_prints_again(printed):
    warn_as(1)
    start_over()
    warn("one")
    assert printed() == ["warning: one"]
