"""A command answers every bad argument with one line and exit code 2, and leaves everything as it was."""

import shutil
from unittest import mock

import pytest
from bad_arguments import arguments_of, values
from hypothesis import given
from hypothesis import strategies as st
from outcomes import ACCEPTED, cases, content, only_checked, refused_or_accepted

from commandline import corruptions, evaluate, export, report, tracking, train

pytestmark = pytest.mark.usefixtures("workdir")

THOROUGH = pytest.param(20, marks=pytest.mark.thorough, id="thorough")
"""How many times as many cases, when they are asked for; other ones at every call."""


@pytest.fixture(params=[pytest.param(1, id="ci"), THOROUGH])
def times(request):
    """1, or how many times as many cases are tried."""
    return request.param


def holds(call, arguments, folder) -> None:
    """Bad input is refused as it should be; what is valid is accepted, and computes nothing."""
    before = content(folder)
    with only_checked():
        outcome = call(*arguments)
    refused_or_accepted(outcome)
    assert content(folder) == before, arguments


@pytest.mark.slow
def test_train(workdir, times):
    @cases(55, times)
    @given(arguments=arguments_of("train"))
    def of_every_case(arguments):
        holds(train, arguments, workdir)

    of_every_case()


def test_a_grid(workdir, times):
    @cases(10, times)
    @given(arguments=arguments_of("train", "-m", "dataset=digits"))
    def of_every_case(arguments):
        small = (mock.patch(f"p2be_exp.{module}.MOST_JOBS", 4) for module in ("config.ranges", "sweeps.plan"))
        with only_checked(), next(small), next(small):
            outcome = train(*arguments)
        assert "Traceback" not in outcome.err
        assert outcome.code == (1 if ACCEPTED in outcome.err else 2), outcome.err
        assert all(line.isprintable() for line in outcome.err.split("\n"))
        shutil.rmtree(workdir / "logs", ignore_errors=True)  # jobs that fail say so in their folders

    of_every_case()


@pytest.mark.slow
def test_evaluate(workdir, four_epochs, times):
    @cases(30, times)
    @given(arguments=arguments_of("evaluate", f"run={four_epochs}", "corruption=none", "attack=none"))
    def of_every_case(arguments):
        holds(evaluate, arguments, workdir)

    of_every_case()


def test_corruptions(workdir, times):
    @cases(20, times)
    @given(
        command=st.sampled_from(["make", "preview", "list", "fetch", "verify", "mak", ""]),
        arguments=arguments_of("corruptions", "out=x", "names=fog"),
    )
    def of_every_case(command, arguments):
        holds(corruptions, [command, *arguments], workdir)

    of_every_case()


def test_export(workdir, four_epochs, times):
    @cases(15, times)
    @given(arguments=arguments_of("export", f"run={four_epochs}"))
    def of_every_case(arguments):
        holds(export, arguments, workdir)

    of_every_case()


def test_the_panels(workdir, times):
    @cases(10, times)
    @given(arguments=arguments_of("tracking", "dry_run=true"))
    def of_every_case(arguments):
        holds(tracking, ["workspace", *arguments, "dry_run=true"], workdir)

    of_every_case()


def test_report(workdir, times):
    runs = values.map(lambda value: [value])
    keys = st.tuples(st.sampled_from(["out=", "evaluation=", "x=", "--", "out"]), values).map("".join)

    @cases(20, times)
    @given(command=st.sampled_from([[], ["compare"], ["compare", "."]]), first=runs, last=st.lists(keys, max_size=2))
    def of_every_case(command, first, last):
        holds(report, [*command, *first, *last], workdir)

    of_every_case()
