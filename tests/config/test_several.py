"""Several loggers: how they are chosen, what their keys are called, and what they were called before."""

import copy

import pytest

from p2be_exp.config import compose_config, to_plain
from p2be_exp.config.experiments import check_experiment
from p2be_exp.config.schema import TensorBoardLoggerConfig, WandbLoggerConfig
from p2be_exp.config.typed import plain, typed
from p2be_exp.errors import BadInput
from p2be_exp.sweeps.plan import plan_jobs

WANDB = {"name": "wandb", "project": "p2be_exp", "entity": None, "group": None, "tags": ["a"], "log_every_n_steps": 7}
"""As an older version stored it, but for the mode."""


def composed(*overrides):
    return to_plain(compose_config("train", overrides))


def refused(*overrides):
    with pytest.raises(BadInput) as error:
        typed(composed(*overrides))
    return str(error.value)


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        ([], ["csv"]),
        (["logger=csv"], ["csv"]),
        (["logger=[]"], []),
        (["logger=wandb"], ["wandb"]),
        (["logger=[tensorboard,wandb]"], ["tensorboard", "wandb"]),
        (["logger=[csv,wandb]"], ["csv", "wandb"]),
    ],
)
def test_any_number_of_loggers_in_the_order_in_which_they_are_named(chosen, names):
    assert list(typed(composed(*chosen)).logger) == names


def test_each_has_keys_of_its_own():
    keys = ("logger.wandb.mode=offline", "logger.wandb.log_every_n_steps=5", "logger.tensorboard.log_every_n_steps=2")
    built = typed(composed("logger=[wandb,tensorboard]", *keys)).logger
    assert isinstance(built["wandb"], WandbLoggerConfig)
    assert isinstance(built["tensorboard"], TensorBoardLoggerConfig)
    assert (built["wandb"].mode, built["wandb"].log_every_n_steps, built["wandb"].project) == ("offline", 5, None)
    assert built["tensorboard"].log_every_n_steps == 2


def test_a_grid_of_loggers_is_one_run_each():
    jobs = plan_jobs(["logger=wandb,tensorboard,[wandb,tensorboard]"])
    assert [list(job.config.logger) for job in jobs] == [["wandb"], ["tensorboard"], ["wandb", "tensorboard"]]


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["logger.mode=offline"], "logger.mode=offline: unknown key; it is now logger.wandb.mode"),
        (["+logger.mode=offline"], "logger.mode=offline: unknown key; it is now logger.wandb.mode"),
        (["logger=wandb", "logger.project=x"], "logger.project=x: unknown key; it is now logger.wandb.project"),
        (
            ["logger=tensorboard", "logger.log_every_n_steps=5"],
            "logger.log_every_n_steps=5: unknown key; it is now logger.tensorboard.log_every_n_steps",
        ),
        (
            ["logger.log_every_n_steps=5"],
            "logger.log_every_n_steps=5: unknown key; "
            "it is now logger.wandb.log_every_n_steps or logger.tensorboard.log_every_n_steps",
        ),
        (["logger.name=wandb"], "logger.name=wandb: unknown key; it is now logger"),
    ],
)
def test_a_key_without_the_name_of_its_logger_is_told_the_new_one(overrides, told):
    assert refused(*overrides) == told


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["logger.wandb.mode=offline"], "logger.wandb.mode=offline: unknown key; it belongs to logger=wandb"),
        (["logger=wandb", "logger.wandb.mdoe=offline"], "logger.wandb.mdoe=offline: unknown key; did you mean "),
        (["logger.wnadb.mode=offline"], "logger.wnadb.mode=offline: unknown key; did you mean logger.wandb.mode?"),
        (["logger=wandb", "logger.wandb.mode=of"], "logger.wandb.mode=of: must be one of online, offline, "),
        (["logger=wandb", "logger.wandb.log_every_n_steps=0"], "logger.wandb.log_every_n_steps=0: must be 1 or more"),
        (["logger=wandb", "logger.wandb.name=x"], "logger.wandb.name=x: choose with logger=, one or several of "),
        (["+logger.wandb.mode=offline"], "logger.wandb={'mode': 'offline'}: choose with logger=, one or several of "),
        (["+logger.nosuch=3"], "logger.nosuch=3: unknown key; choose with logger=, one or several of csv, wandb, "),
        (["logger=wandbb"], "logger=wandbb: no such logger; available: csv, tensorboard, wandb; did you mean wandb?"),
        (["logger=[wandb,tensorbord]"], "logger=tensorbord: no such logger; available: csv, tensorboard, wandb; did "),
        (["logger=[wandb,wandb]"], "logger=[wandb,wandb]: wandb is there twice"),
        (["logger=wandb,csv"], "logger=wandb,csv: both in one run are 'logger=[wandb,csv]'; a run for each needs -m"),
        (["logger=null"], "logger=null: must be one or several of csv, tensorboard, wandb: logger=NAME or 'logger=["),
        (["logger=3"], "logger=3: must be one or several of "),
        (["logger=[true]"], "logger=[true]: must be one or several of "),
    ],
)
def test_what_is_no_logger_or_no_key_of_one_is_refused(overrides, told):
    assert refused(*overrides).startswith(told)


@pytest.mark.parametrize("node", [3, None, [], "wandb"])
def test_a_stored_group_that_is_no_group_is_refused(node):
    with pytest.raises(BadInput, match=r"^logger: must be one or several of csv, wandb, tensorboard$"):
        typed(composed() | {"logger": node})


@pytest.mark.parametrize(
    ("stored", "means"),
    [
        ({"name": "csv"}, {"csv": {"name": "csv"}}),
        ({**WANDB, "mode": "offline"}, {"wandb": {**WANDB, "mode": "offline"}}),
        ({**WANDB, "mode": "online"}, {"wandb": {**WANDB, "mode": None}}),  # which had left WANDB_MODE to decide
        (
            {"name": "tensorboard", "log_every_n_steps": 3},
            {"tensorboard": {"name": "tensorboard", "log_every_n_steps": 3}},
        ),
    ],
)
def test_a_stored_logger_without_its_name_is_read_as_before(stored, means):
    config = composed() | {"logger": stored}
    before = copy.deepcopy(config)
    assert plain(typed(config))["logger"] == means
    assert config == before


def test_a_stored_logger_that_there_is_not_is_refused():
    with pytest.raises(BadInput, match=r"^logger\.mlflow={'name': 'mlflow'}: unknown key; choose with logger="):
        typed(composed() | {"logger": {"name": "mlflow"}})


def test_an_experiment_may_choose_several(tmp_path):
    file = tmp_path / "mine.yaml"
    text = "# @package _global_\ndefaults:\n  - override /logger: {}\nseed: 1\n"
    file.write_text(text.format("[wandb, tensorboard]"))
    check_experiment(file)
    file.write_text(text.format("[wandb, wandb]"))
    with pytest.raises(BadInput, match=r"override /logger: .*: wandb is there twice"):
        check_experiment(file)
