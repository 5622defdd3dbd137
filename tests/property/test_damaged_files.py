"""Whoever reads a damaged file says so in one line, or reads what was written; nothing is changed on disk.

The reader of a damaged run names it, where it is one of several it goes on with the others; a file whose damage no
reader can see (a number in a text file that is another number) may be read as it stands.
"""

import contextlib
import json
import shutil
from unittest import mock

import numpy as np
import pytest
from damage import Damage, damaged_copy, damages_of
from hypothesis import given
from hypothesis import strategies as st
from outcomes import cases, content, only_checked, refused_or_accepted

from commandline import compare, copy_of, corruptions, evaluate_clean, export, report, train, trained
from p2be_exp import load_run
from p2be_exp.corruptions.store import StoredSet
from p2be_exp.errors import BadInput

pytestmark = [pytest.mark.usefixtures("workdir"), pytest.mark.slow]

RESULTS = ("results.csv", "results.json", "per_image/clean.npz")
RUN = ("config.yaml", "run.json", "status.json", "metrics.csv", *RESULTS)
CHECKPOINT = "checkpoints/last.ckpt"
seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(params=[pytest.param(1, id="ci"), pytest.param(20, marks=pytest.mark.thorough, id="thorough")])
def times(request):
    """1, or how many times as many cases are tried."""
    return request.param


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Two runs that differ in the seed, with an evaluation of the first, for every test to copy."""
    folder = tmp_path_factory.mktemp("measured")
    run = trained(folder / "run")
    trained(folder / "other", "seed=1")
    assert evaluate_clean(f"run={run}", "name=mine").code == 0
    return folder


def damages(*files: str) -> st.SearchStrategy[tuple[str, Damage]]:
    """One of some files, and what is done to it."""
    return st.sampled_from(files).flatmap(lambda file: st.tuples(st.just(file), st.sampled_from(damages_of(file))))


def holds(source, target, file, damage, seed, call) -> bool:
    """What a reader of a damaged folder does, which is refused as it should be; whether it is accepted."""
    run = damaged_copy(source, target, file, damage, seed)
    before = content(run)
    with mock.patch("p2be_exp.evaluation.job.draw_results", return_value=[]):
        outcome = call(run)
    accepted = outcome.code == 0 or refused_or_accepted(outcome)
    assert accepted or content(run) == before
    return accepted


# -- a run ------------------------------------------------------------------------------------------------------------


def _checked(command, *arguments):
    with only_checked():
        return command(*arguments)


def test_evaluating_a_run(workdir, measured, times):
    @cases(25, times)
    @given(damage=damages(*RUN, CHECKPOINT), seed=seeds)
    def of_every_case(damage, seed):
        holds(measured / "run", workdir / "run", *damage, seed, lambda run: _checked(evaluate_clean, f"run={run}"))

    of_every_case()


def test_exporting_a_run(workdir, measured, times):
    @cases(10, times)
    @given(damage=damages("config.yaml", "run.json", CHECKPOINT), seed=seeds)
    def of_every_case(damage, seed):
        holds(measured / "run", workdir / "run", *damage, seed, lambda run: _checked(export, f"run={run}", "out=x.pt2"))

    of_every_case()


def test_loading_a_run(workdir, measured, times):
    @cases(20, times)
    @given(damage=damages("config.yaml", "run.json", CHECKPOINT), seed=seeds)
    def of_every_case(damage, seed):
        run = damaged_copy(measured / "run", workdir / "run", *damage, seed)
        before = content(run)
        with contextlib.suppress(BadInput):
            load_run(run)
        assert content(run) == before

    of_every_case()


def test_loading_a_shared_network(workdir, shared, times):
    @cases(15, times)
    @given(damage=damages("config.json", "model.safetensors"), seed=seeds)
    def of_every_case(damage, seed):
        holds(shared, workdir / "shared", *damage, seed, lambda place: _checked(_evaluate_shared, place))

    of_every_case()


def _evaluate_shared(place):
    return evaluate_clean(f"run={place}", "out=results")


def test_going_on_with_an_evaluation(workdir, measured, times):
    clean = json.loads((measured / "run" / "evaluations" / "mine" / "results.json").read_text())["conditions"]

    @cases(12, times)
    @given(damage=damages(*(f"evaluations/mine/{file}" for file in RESULTS)), seed=seeds)
    def of_every_case(damage, seed):
        target = workdir / "run"
        if holds(measured / "run", target, *damage, seed, lambda run: evaluate_clean(f"run={run}", "name=mine")):
            again = json.loads((target / "evaluations" / "mine" / "results.json").read_text())["conditions"]
            assert again["clean"]["n_wrong"] == clean["clean"]["n_wrong"]

    of_every_case()


def test_resuming_a_run(workdir, measured, times):
    wrong = json.loads((measured / "run" / "results.json").read_text())["conditions"]["clean"]["n_wrong"]

    @cases(10, times)
    @given(damage=damages("run.json", "status.json", "metrics.csv", *RESULTS, CHECKPOINT), seed=seeds)
    def of_every_case(damage, seed):
        target = workdir / "run"
        if holds(measured / "run", target, *damage, seed, lambda run: train(f"resume={run}")):
            again = json.loads((target / "results.json").read_text())["conditions"]
            assert again["clean"]["n_wrong"] == wrong

    of_every_case()


def test_comparing_runs(workdir, measured, times):
    @cases(30, times)
    @given(damage=damages(*RUN), seed=seeds)
    def of_every_case(damage, seed):
        other = measured / "other"
        holds(measured / "run", workdir / "run", *damage, seed, lambda run: compare(run, other))

    of_every_case()


def test_a_report_of_several_runs_leaves_out_the_damaged_one(workdir, measured, times):
    runs = copy_of(measured, workdir / "runs")

    @cases(10, times)
    @given(damage=damages(*RUN), seed=seeds)
    def of_every_case(damage, seed):
        def call(run):
            return _checked(report, runs, "out=there")

        accepted = holds(measured / "run", runs / "run", *damage, seed, call)
        assert accepted  # there is another run

    of_every_case()


# -- a -C set ---------------------------------------------------------------------------------------------------------

MAKE = ("make", "dataset=digits", "names=[fog,brightness]", "severities=[2,4]", "limit_test=12", "workers=1")
SET = ("manifest.json", "labels.npy", "indices.npy", "fog.npy")


@pytest.fixture(scope="module")
def corrupted(tmp_path_factory):
    """A small set that was made here."""
    folder = tmp_path_factory.mktemp("corrupted") / "set"
    assert corruptions(*MAKE, f"out={folder}").code == 0
    return folder


def test_reading_a_set(workdir, corrupted, times):
    def blocks(folder):
        stored = StoredSet(folder)
        cells = [(name, severity) for name in stored.names for severity in stored.severities]
        return stored.labels, stored.indices, {cell: np.array(stored.block(*cell)) for cell in cells}

    _, indices, images = blocks(corrupted)

    @cases(30, times)
    @given(damage=damages(*SET), seed=seeds)
    def of_every_case(damage, seed):
        folder = damaged_copy(corrupted, workdir / "set", *damage, seed)
        before = content(folder)
        with contextlib.suppress(BadInput):
            _, found_indices, found = blocks(folder)
            assert (found_indices == indices).all()
            assert all((found[cell] == images[cell]).all() for cell in found)
        assert content(folder) == before

    of_every_case()


def test_going_on_with_a_set(workdir, corrupted, times):
    @cases(10, times)
    @given(damage=damages(*SET), seed=seeds)
    def of_every_case(damage, seed):
        folder = damaged_copy(corrupted, workdir / "set", *damage, seed)
        before = content(folder)
        outcome = corruptions(*MAKE, f"out={folder}")
        assert "Traceback" not in outcome.err
        if outcome.code == 0:
            made = {name: digest for name, digest in content(corrupted).items() if name.endswith(".npy")}
            assert {name: digest for name, digest in content(folder).items() if name.endswith(".npy")} == made
        else:
            assert not refused_or_accepted(outcome)
            assert content(folder) == before

    of_every_case()
    shutil.rmtree(workdir / "set")
