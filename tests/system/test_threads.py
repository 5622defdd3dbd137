"""Threads from the CPUs that a process may use: affinity and a container's quota."""

import os

import pytest
import torch

from commandline import TINY, train
from p2be_exp.config.schema import TrainerConfig
from p2be_exp.system import threads
from p2be_exp.system.threads import cpu_quota, set_threads, usable_cpus

ONE, TWO = TrainerConfig(devices=1, num_nodes=1), TrainerConfig(devices=2, num_nodes=1)


@pytest.fixture
def groups(tmp_path):
    """Makes control groups out of the content of their files; gives what cpu_quota takes."""

    def make(process: str, files: dict[str, str]):
        for name, content in files.items():
            file = tmp_path / "cgroup" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        (tmp_path / "self").write_text(process)
        return tmp_path / "cgroup", tmp_path / "self"

    return make


@pytest.mark.parametrize(
    ("process", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/a/b\n", {"a/b/cpu.max": "400000 100000", "a/cpu.max": "200000 100000", "cpu.max": "max 100000"}, 2),
        ("0::/of/outside\n", {"cpu.max": "50000 100000"}, 0.5),  # a container without a namespace of its own
        ("0::/\n", {}, None),
        ("0::/\n", {"cpu.max": "nonsense"}, None),
        ("3:cpu,cpuacct:/x\n1:memory:/y\n", {"cpu,cpuacct/x/cpu.cfs_quota_us": "300000",
                                            "cpu,cpuacct/x/cpu.cfs_period_us": "100000"}, 3),
        ("1:cpu:/\n0::/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
    ],
)  # fmt: skip
def test_the_quota_of_a_container(groups, process, files, quota):
    assert cpu_quota(*groups(process, files)) == quota


def test_no_quota_where_there_are_no_control_groups(tmp_path):
    assert cpu_quota(tmp_path, tmp_path / "none") is None


@pytest.mark.parametrize(
    ("affinity", "quota", "expected"), [(8, None, 8), (8, 2.0, 2), (8, 2.9, 2), (8, 0.5, 1), (1, 4.0, 1), (8, 64, 8)]
)
def test_the_smaller_of_affinity_and_quota_counts(monkeypatch, affinity, quota, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(affinity)), raising=False)
    monkeypatch.setattr(threads, "cpu_quota", lambda: quota)
    assert usable_cpus() == expected


@pytest.fixture
def eight(monkeypatch):
    """PyTorch would take eight threads; those that are set are not taken."""
    chosen = [8]
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: chosen[-1])
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    for name in ("TORCHELASTIC_RUN_ID", "SLURM_PROCID", "SLURM_CPUS_PER_TASK"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("cpus", "trainer", "expected"), [(16, ONE, 8), (6, ONE, 6), (6, TWO, 3), (1, TWO, 1)])
def test_threads_are_no_more_than_the_cpus_of_each_process(monkeypatch, eight, cpus, trainer, expected):
    monkeypatch.setattr(threads, "usable_cpus", lambda: cpus)
    monkeypatch.setenv("OMP_NUM_THREADS", "")  # so that what is set below is undone
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert set_threads(trainer) == expected
    started = trainer is TWO
    assert os.environ.get("OMP_NUM_THREADS") == (str(expected) if started else None)


def test_what_the_user_has_set_stays(monkeypatch, eight):
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    monkeypatch.setattr(threads, "usable_cpus", lambda: 1)
    assert set_threads(ONE) == 8


def test_slurms_tasks_have_cpus_of_their_own(monkeypatch, eight):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(16)), raising=False)  # they are not bound
    monkeypatch.setattr(threads, "cpu_quota", lambda: None)
    for name, value in {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_CPUS_PER_TASK": "4"}.items():
        monkeypatch.setenv(name, value)
    assert set_threads(TWO) == 4
    assert "OMP_NUM_THREADS" not in os.environ


def test_the_number_is_printed(workdir):
    assert f"device  CPU, float32, {torch.get_num_threads()} thread" in train(*TINY, "hydra.run.dir=run").out
