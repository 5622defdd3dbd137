"""Deterministic arithmetic: set in time, on GPUs alone, and given back."""

import os

import pytest
import torch

from p2be_exp.config import training_config
from p2be_exp.errors import BadInput
from p2be_exp.system import deterministic, job_process, trainer
from p2be_exp.system.deterministic import VARIABLE, fix_workspace
from p2be_exp.system.process_state import kept_process_state
from p2be_exp.training import job

ON = training_config(["trainer.deterministic=true"]).trainer
OFF = training_config([]).trainer


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """A process in which neither the variable is set nor CUDA has started."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(deterministic, "_FIXED", set())
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    with kept_process_state():
        yield


def with_gpu(monkeypatch):
    for module in (trainer, job, job_process):
        monkeypatch.setattr(module, "on_gpu", lambda config: True)


def test_the_workspace_is_set_before_cuda_starts():
    fix_workspace()
    assert os.environ[VARIABLE] == ":4096:8"


def test_a_workspace_of_the_users_own_stays(monkeypatch):
    monkeypatch.setenv(VARIABLE, ":16:8")
    fix_workspace()
    assert os.environ[VARIABLE] == ":16:8"
    monkeypatch.setenv(VARIABLE, ":0:0")
    with pytest.raises(BadInput) as error:
        fix_workspace()
    assert str(error.value) == (
        f"{VARIABLE}=:0:0 (environment variable): must be :4096:8 or :16:8 with trainer.deterministic=true"
    )


def test_it_is_too_late_once_cuda_has_started_without_it(monkeypatch):
    with kept_process_state():
        fix_workspace()
    assert VARIABLE not in os.environ
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    fix_workspace()  # the job before has set it in time
    assert os.environ[VARIABLE] == ":4096:8"
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr(deterministic, "_FIXED", set())
    with pytest.raises(BadInput, match=r"^trainer.deterministic=true: CUDA has started in this process without it; "):
        fix_workspace()


@pytest.mark.parametrize("config", [ON, OFF])
def test_a_job_on_a_gpu_computes_so_while_it_lasts(monkeypatch, tmp_path, config):
    asked = config is ON
    with_gpu(monkeypatch)
    monkeypatch.setattr(job_process, "check_devices", lambda config: None)
    with job_process.job_process(config, tmp_path, "out"):
        assert (VARIABLE in os.environ) == asked
        trainer.set_arithmetic(config, tf32=False)
        cudnn = torch.backends.cudnn
        now = (torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, cudnn.benchmark)
        assert now == (asked, asked, not asked)
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.deterministic
    assert VARIABLE not in os.environ


def test_on_a_cpu_nothing_changes(monkeypatch, tmp_path):
    monkeypatch.setattr(job_process, "on_gpu", lambda config: False)
    with job_process.job_process(ON, tmp_path, "out"):
        trainer.set_arithmetic(training_config(["trainer=cpu", "trainer.deterministic=true"]).trainer, tf32=False)
        assert VARIABLE not in os.environ
        assert not torch.are_deterministic_algorithms_enabled()


def test_what_run_json_says(monkeypatch):
    plain = job.trained_on(OFF)
    assert "deterministic" not in plain
    assert job.trained_on(training_config(["trainer=cpu", "trainer.deterministic=true"]).trainer) == plain
    with_gpu(monkeypatch)
    fixed, loose = job.trained_on(ON), job.trained_on(OFF)
    assert fixed == {**loose, "deterministic": True}
    assert job.trained_on(ON, before=loose)["deterministic"] == "False, then True"
    assert job.trained_on(OFF, before=fixed)["deterministic"] == "True, then False"
    assert job.trained_on(ON, before=fixed) == fixed
