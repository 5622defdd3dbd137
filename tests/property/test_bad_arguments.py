"""A command answers every bad argument with one line and exit code 2, and leaves everything as it was."""

import pytest
from bad_arguments import OPTIONS, arguments_of
from hypothesis import given
from outcomes import cases, content, only_checked, refused_or_accepted

from commandline import train

pytestmark = pytest.mark.usefixtures("workdir")


def holds(call, arguments, folder) -> None:
    """Bad input is refused as it should be; what is valid is accepted, and computes nothing."""
    before = content(folder)
    with only_checked():
        outcome = call(*arguments)
    refused_or_accepted(outcome)
    assert content(folder) == before, arguments


def training(workdir):
    @given(arguments=arguments_of("train", OPTIONS))
    def every(arguments):
        holds(train, arguments, workdir)

    return every


def test_train(workdir):
    cases(100)(training(workdir))()


@pytest.mark.thorough
def test_train_thoroughly(workdir):
    cases(100, 3000)(training(workdir))()
