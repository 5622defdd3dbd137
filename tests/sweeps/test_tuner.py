"""What a sweeper that looks for good settings is told: the validation error, never the test error."""

import importlib.util
import sys
import types

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

from commandline import TINY, refusal, rows_of, train
from p2be_exp.errors import BadInput
from p2be_exp.sweeps.tuner import check_tuner, tuner_of

SEEN = []


class Tuner(BasicSweeper):
    """Runs a grid and notes what each of its jobs gave back."""

    def sweep(self, arguments):
        for jobs in super().sweep(arguments):
            SEEN.extend(job.return_value for job in jobs)


Tuner.__module__ = "hydra_plugins.tests"  # where Hydra takes plug-ins from


@pytest.fixture
def tuner(monkeypatch):
    """``hydra/sweeper=tests``."""
    module = types.ModuleType(Tuner.__module__)
    module.Tuner = Tuner
    if importlib.util.find_spec("hydra_plugins") is None:
        monkeypatch.setitem(sys.modules, "hydra_plugins", types.ModuleType("hydra_plugins"))
    monkeypatch.setitem(sys.modules, Tuner.__module__, module)
    monkeypatch.setattr("hydra_plugins.tests", module, raising=False)
    Plugins.instance().register(Tuner)
    node = {"_target_": "hydra_plugins.tests.Tuner", "max_batch_size": None, "params": None}
    ConfigStore.instance().store(group="hydra/sweeper", name="tests", node=node)
    SEEN.clear()


def test_a_tuner_is_told_the_validation_error_of_every_job_also_of_those_that_are_done(workdir, tuner):
    arguments = ["-m", "hydra/sweeper=tests", *TINY, "epochs=1", "seed=0,1", "hydra.sweep.dir=sweep"]
    for _ in range(2):  # the second time both jobs are there
        outcome = train(*arguments, "dataset.val_size=20")
        assert outcome.code == 0, outcome.err
    assert "already finished" in outcome.out
    errors = [float(rows_of(workdir / "sweep" / str(job) / "metrics.csv")[-1]["val/error"]) for job in range(2)]
    assert [*errors, *errors] == SEEN


def test_without_a_validation_split_it_is_refused_before_the_first_job(workdir, tuner):
    arguments = ["-m", "hydra/sweeper=tests", *TINY, "seed=0,1", "hydra.sweep.dir=sweep"]
    told = (
        "dataset.val_size=0: must be above 0 with hydra/sweeper=tests, which minimises the validation error; "
        "test images decide nothing"
    )
    assert refusal(train(*arguments)) == told
    assert not SEEN
    # Where the split itself is searched for, each job decides.
    outcome = train(*arguments, "dataset.val_size=choice(0)", "epochs=1")
    assert outcome.code == 2
    assert f"error: {told}" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["hydra/sweeper=optuna", "model=mix", "dataset.val_size=9"],
            "hydra/sweeper=optuna: minimises a validation error; regime=none trains nothing",
        ),
        (["hydra/sweeper=optuna", "optim.lr=interval(0.1,1)"], "dataset.val_size=0: must be above 0 with"),
        (["hydra/sweeper=optuna", "dataset.val_size=9", "optim.lr=interval(0.1,1)"], None),
        (["hydra/sweeper=optuna", "dataset.val_size=choice(9,10)"], None),
        (["hydra/sweeper=basic"], None),
    ],
)
def test_what_a_tuner_requires(arguments, message):
    if message is None:
        check_tuner(arguments)
        return
    with pytest.raises(BadInput) as error:
        check_tuner(arguments)
    assert str(error.value).startswith(message)


def test_hydras_own_sweeper_is_none():
    assert [tuner_of(choices) for choices in ({}, {"hydra/sweeper": "basic"})] == [None, None]
    assert tuner_of({"hydra/sweeper": "optuna"}) == "optuna"
