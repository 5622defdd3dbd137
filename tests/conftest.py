"""The threads of every test, what needs a GPU, and the trained runs that tests of the commands share."""

import contextlib
import functools
import os
import signal
import sys
import tempfile
from pathlib import Path
from unittest import mock

import pytest
import torch

import commandline
from commandline import QUICKSTART, export, train, trained
from one_pixel import save_figure
from p2be_exp.corruptions.published import FILES
from p2be_exp.runs import provenance
from published_sets import md5s
from quick_hydra import quick_hydra
from quick_system import quick_system
from rounding import OtherRounding
from warm_python import WarmPython


def pytest_runtest_setup(item):
    """A test that needs a GPU is skipped where PyTorch sees none."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a GPU that PyTorch sees (torch.cuda.is_available() is false)")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Files with slow tests first, so that no process is left with one of them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)  # stable


@pytest.fixture(autouse=True)
def signals():
    """Processes that a test starts heed a lost terminal and an interrupt.

    Both are ignored under nohup and in the background of a shell script, and Lightning ignores an interrupt from the
    first that it got; what is ignored is inherited.
    """
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def arithmetic():
    """What a test allows a GPU's convolutions and products is not the next one's."""
    cudnn, products = torch.backends.cudnn, torch.get_float32_matmul_precision()
    before = cudnn.benchmark, cudnn.allow_tf32
    yield
    cudnn.benchmark, cudnn.allow_tf32 = before
    if torch.get_float32_matmul_precision() != products:
        torch.set_float32_matmul_precision(products)


@pytest.fixture(autouse=True)
def job_processes():
    """Those of joblib end with their test: the next sweep would run in the folder that they were started in."""
    yield
    loky = sys.modules.get("joblib.externals.loky.reusable_executor")
    if loky is not None and loky._executor is not None:
        loky._executor.shutdown(wait=True, kill_workers=True)


@pytest.fixture(scope="session", autouse=True)
def first_backward():
    """Autograd asks at a process's first backward pass how many GPUs there are, and starts a thread for each.

    Under a fake CUDA device there seems to be one, and then no fork of the process can compute gradients.
    """
    torch.ones(1, requires_grad=True).sum().backward()


@pytest.fixture(scope="session", autouse=True)
def threads():
    """One thread, since those of one small operation wait for each other; or P2BE_TEST_THREADS (see .ci/run)."""
    before = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("P2BE_TEST_THREADS", "1")))
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def rounding():
    """With P2BE_TEST_ROUNDING=SEED, the results of a CPU that nobody has."""
    seed = os.environ.get("P2BE_TEST_ROUNDING")
    with OtherRounding(int(seed)) if seed else contextlib.nullcontext():
        yield


@pytest.fixture(scope="session", autouse=True)
def quick():
    """A command spends a third of its time less on its configuration, the disk, git and the versions of packages."""
    commit = functools.cache(provenance.git_commit)
    with quick_hydra(), quick_system(), mock.patch.object(provenance, "git_commit", commit):
        yield


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    for variable in ("P2BE_DATA_DIR", "HYDRA_FULL_ERROR", "WANDB_MODE"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


@pytest.fixture(scope="session")
def _warm_python():
    with tempfile.TemporaryDirectory(prefix="python-") as folder, WarmPython(Path(folder)) as python:
        yield python.program


@pytest.fixture
def warm_python(_warm_python, monkeypatch):
    """Processes that a test, or what it tests, starts with ``sys.executable`` are warm."""
    monkeypatch.setattr(sys, "executable", str(_warm_python))


@pytest.fixture
def rendered(monkeypatch):
    """The commands of a test render their figures; those of other tests save a pixel instead."""
    monkeypatch.setattr(commandline, "_save_in_commands", save_figure)


@pytest.fixture
def published(monkeypatch):
    """Called with a folder and a data set: for the time of a test, the folder's files are the published ones."""

    def declare(folder, dataset="cifar10"):
        monkeypatch.setitem(FILES, dataset, md5s(folder))
        return folder

    return declare


@pytest.fixture(scope="session")
def four_epochs(tmp_path_factory):
    """A finished run of four epochs of four batches: to look at, to copy, not to change."""
    return trained(tmp_path_factory.mktemp("four_epochs") / "run", "epochs=4")


@pytest.fixture(scope="session")
def with_validation(tmp_path_factory):
    """A finished run of two epochs with 30 held-out images, watched every second epoch: not to be changed."""
    return trained(tmp_path_factory.mktemp("with_validation") / "run", "dataset.val_size=30", "watch_every=2")


@pytest.fixture(scope="session")
def rgb_run(tmp_path_factory):
    """A finished run of one epoch whose encoding has no table to take over: not to be changed."""
    folder = tmp_path_factory.mktemp("rgb_run") / "run"
    outcome = train(*QUICKSTART, "epochs=1", "encoding=rgb", f"hydra.run.dir={folder}")
    assert outcome.code == 0, outcome.err
    return folder


@pytest.fixture(scope="session")
def shared(tmp_path_factory, four_epochs):
    """A network to share, made of the run of four epochs: to look at, to copy, not to change."""
    folder = tmp_path_factory.mktemp("shared") / "network"
    outcome = export(f"run={four_epochs}", "format=hub", f"out={folder}", "license=mit")
    assert outcome.code == 0, outcome.err
    return folder
