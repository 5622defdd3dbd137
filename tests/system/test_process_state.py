"""A good neighbour: what imports and commands leave of a process that others use too, a notebook say."""

import logging
import os
import random
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import pyplot

from commandline import TINY, copy_of, finish, start_warm
from p2be_exp.commands import corruptions, evaluate, export, report, train
from p2be_exp.system.process_state import kept_process_state
from process_state import changes, snapshot

IMPORTS = """
import importlib, pkgutil, sys
import cv2, foolbox, hydra, matplotlib, numba, numpy, omegaconf, PIL, pytorch_lightning, pytorch_lightning.loggers
import pyautoattack, scipy, torchattacks
import sklearn, torch, torchmetrics, torchvision, tqdm, wandb
assert "p2be_exp" not in sys.modules
sys.path.append(sys.argv[1])
from process_state import changes, snapshot
import p2be_exp
matplotlib.use("svg")
before = snapshot()
figure = matplotlib.pyplot.figure()
before["figures"] = matplotlib.pyplot.get_fignums()
for module in pkgutil.walk_packages(p2be_exp.__path__, "p2be_exp."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(changes(before, snapshot()))
"""


@pytest.mark.slow
def test_importing_every_module_changes_nothing(tmp_path):
    (tmp_path / "imports.py").write_text(IMPORTS)
    outcome = finish(start_warm(tmp_path / "imports.py", str(Path(__file__).parents[1]), cwd=tmp_path))
    assert (outcome.code, outcome.out) == (0, "{}\n"), outcome.err


@pytest.fixture
def users(monkeypatch, workdir):
    """A process that has much of its own: a plot, handlers of its log, threads, a variable that a job sets."""
    before = pyplot.get_backend()
    pyplot.switch_backend("svg")
    figure = pyplot.figure()
    log = logging.FileHandler("users.log", mode="w")
    logging.getLogger().addHandler(log)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("PL_GLOBAL_SEED", "the user's")
    monkeypatch.setattr("p2be_exp.system.threads.usable_cpus", lambda: 1)
    yield
    torch.set_num_threads(threads)
    logging.getLogger().removeHandler(log)
    log.close()
    pyplot.close(figure)
    pyplot.switch_backend(before)


@pytest.mark.slow
@pytest.mark.usefixtures("users")
def test_commands_change_nothing(workdir, four_epochs, monkeypatch):
    run = copy_of(four_epochs, workdir / "run")
    short = [*TINY, "epochs=1", "limit_train=16", "limit_test=10"]
    commands = {
        train.main: [
            [*short, "hydra.run.dir=new"],
            ["-m", *short, "seed=0,1", "hydra.sweep.dir=sweep"],
            [*short, "hydra.run.dir=wrong", "epochs=0"],
        ],
        evaluate.main: [
            [f"run={run}", "corruption.names=[fog]", "attack=pgd", "attack.steps=1", "limit_test=4"],
            [f"run={run}", "attack=lspga", "attack.steps=0"],
        ],
        report.main: [[str(run), "out=report"]],
        export.main: [[f"run={run}", "out=model.pt2"]],
        corruptions.main: [["preview", "dataset=digits", "names=[fog]"]],
    }
    before = snapshot()
    for main, calls in commands.items():
        for arguments in calls:
            monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
            code = main()
            monkeypatch.setattr(sys, "argv", before["sys.argv"])
            assert code == (2 if {"epochs=0", "attack.steps=0"} & set(arguments) else 0), arguments
            assert changes(before, snapshot()) == {}, arguments
    logging.getLogger().warning("still written")
    assert Path("users.log").read_text() == "still written\n"


@pytest.mark.usefixtures("workdir")
def test_the_root_logger_is_given_back_where_hydra_is_asked_to_log(monkeypatch):
    short = [*TINY, "epochs=1", "limit_train=16", "limit_test=10", "hydra.run.dir=run"]
    before = snapshot()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "argv", ["train.py", *short, "hydra/job_logging=default"])
        assert train.main() == 0
    assert list(Path("run").glob("*.log"))  # it did
    assert changes(before, snapshot()) == {}


def test_what_is_changed_in_the_block_is_given_back():
    before = snapshot()
    with pytest.raises(KeyError), kept_process_state():
        _change_everything()
    assert changes(before, snapshot()) == {}


def _change_everything():
    os.environ["NEW_HERE"] = "1"
    os.environ["PATH"], home = "", os.environ.pop("HOME", None)
    assert home != ""
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.set_float32_matmul_precision("medium")
    torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark
    torch.backends.cudnn.allow_tf32 = not torch.backends.cudnn.allow_tf32
    logging.getLogger("pytorch_lightning").setLevel(1)
    warnings.simplefilter("error")
    raise KeyError
