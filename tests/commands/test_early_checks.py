"""Bad input is answered before PyTorch is imported, which takes longer than a person waits for a mistyped word."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from commandline import HANGS, ROOT
from p2be_exp.backbones import image_sizes, list_backbones
from p2be_exp.commands import early_checks
from p2be_exp.config.image_sizes import TAKEN
from p2be_exp.config.schema import TrainConfig, TrainerConfig
from p2be_exp.data import source_class
from p2be_exp.errors import BadInput
from p2be_exp.system import devices

CASES = {
    "train": [
        "encodng=rgb",
        "encoding=rbg",
        "epochs=0",
        "epochs=x",
        "a b",
        "--nope",
        "resume=nowhere",
        "resume=RUN epochs=3",
        "resume=RUN trainer.devices=0",
        "resume=RUN trainer=gpu",
        "hydra.run.dir=RUN",
        "hydra.run.dir=file/run",
        "sweeps=nothing",
        "-m encodng=1,2",
        "plugins=[nowhere]",
        "trainer=gpu dataset=digits",
        "dataset=image_folder",
        "dataset=image_folder dataset.dir=nowhere",
        "dataset=imagenet data_dir=nowhere",
        "dataset=cifar10 dataset.download=false data_dir=nowhere",
        "dataset=cifar100 dataset.download=false data_dir=nowhere",
        "dataset=svhn dataset.download=false data_dir=nowhere",
        "dataset=mnist dataset.download=false data_dir=nowhere",
        "dataset=caltech101 dataset.download=false data_dir=nowhere",
        "dataset=caltech256 dataset.download=false data_dir=nowhere",
        "dataset=digits attack=transfer",
        "dataset=digits attack=transfer attack.source=nowhere",
        "dataset=cifar10 attack=transfer attack.source=RUN",
        "dataset=cifar10 corruption=cifar_c data_dir=nowhere",
        "dataset=digits corruption=cifar_c",
        "dataset=digits corruption=own",
        "dataset=digits corruption=own corruption.dir=nowhere",
        "dataset=digits corruption=generated corruption.names=[fgo]",
        "dataset=digits corruption=generated corruption.dir=nowhere",
        "dataset=digits corruption=generated corruption.names=[frost] corruption.frost_dir=nowhere",
        "dataset=digits encoding.table_from=nowhere",
        "dataset=digits encoding.table_from=RUN encoding.M=16",
        "dataset=digits backbone=resnet50",
        "dataset=imagenet backbone=resnet50 backbone.weights=nowhere",
        "dataset=digits trainer=ddp trainer.num_nodes=2 hydra.run.dir=x",
        "torchrun dataset=digits hydra.run.dir=x",
        "torchrun dataset=digits trainer=ddp hydra.run.dir=x",
        "torchrun resume=RUN",
        "torchrun -m seed=0,1",
        "torchrun sweeps=table2",
    ],
    "evaluate": [
        "",
        "run=nowhere",
        "run=null",
        "run=RUN corruption=cifr",
        "run=RUN checkpoint=best",
        "run=RUN name=a/b",
        "run=RUN attack.steps=0",
        "run=RUN corruption=cifar_c",
        "run=RUN corruption=generated corruption.dir=nowhere",
        "run=RUN corruption=own",
        "run=RUN attack=transfer attack.source=nowhere",
        "run=RUN trainer=gpu",
        "run=RUN encoding=rgb",
        "run=RUN trainer=ddp trainer.num_nodes=2",
        "torchrun run=RUN",
    ],
    "corruptions": [
        "mak",
        "make",
        "make out=c names=[fgo]",
        "make out=c size=64",
        "make out=c folder=nowhere",
        "make out=file/c dataset=digits",
        "make out=c dataset=cifar10 dataset.download=false data_dir=nowhere",
        "make out=c dataset=digits names=[frost] frost_dir=nowhere",
        "preview out=file/c.png dataset=digits",
        "torchrun make out=c dataset=digits",
    ],
    "report": [
        *("nowhere", "compare RUN", "compare RUN nowhere", "compare RUN RUN"),
        *("RUN evaluation=none", "RUN out=file/x", "torchrun RUN"),
    ],
    "export": [
        *("format=onnx", "run=nowhere", "run=RUN format=x", "run=RUN out=x.txt", "run=RUN checkpoint=best"),
        "torchrun run=RUN",
    ],
    "published": [
        *("lisst", "list network=x", "check network=x", "check network=wrn34_10 weights=nowhere.pt"),
        "torchrun list",
    ],
    "tracking": ["workspac", "workspace x=1", "workspace dry_run=perhaps", "torchrun workspace"],
}
"""By command; what begins with torchrun as the first of two processes that it started."""
ALL_OF_THEM = """
import contextlib, importlib, io, json, os, sys
from unittest import mock
from p2be_exp.system import devices
sys.path.append(sys.argv[2])
from quick_hydra import quick_hydra
devices._surely_no_gpu = lambda: True
told = []
torchrun = {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_PORT": "abc"}
for command, cases in json.loads(sys.argv[1]).items():
    main = importlib.import_module(f"p2be_exp.commands.{command}").main
    for case in cases:
        words = case.removeprefix("torchrun ")
        sys.argv = ["train.py", *words.split(" ")] if words not in ("", "a b") else ["train.py", *filter(None, [words])]
        variables = torchrun if words != case else {}
        out, err = io.StringIO(), io.StringIO()
        with (contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), quick_hydra(),
              mock.patch.dict(os.environ, variables)):
            code = main()
        slow = [name for name in ("torch", "pytorch_lightning", "numba") if name in sys.modules]
        told.append([f"{command} {case}", code, slow, err.getvalue(), sorted(os.listdir())])
print(json.dumps(told))
"""


@pytest.mark.slow
def test_pytorch_is_not_imported_for_bad_input(workdir, four_epochs):
    (workdir / "file").write_text("")
    (workdir / "RUN").symlink_to(four_epochs)
    process = subprocess.run(
        [sys.executable, "-c", ALL_OF_THEM, json.dumps(CASES), ROOT / "tests"],
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    for case, code, slow, told, left in json.loads(process.stdout):
        assert (code, slow) == (2, []), (case, told)
        assert told.startswith("error: "), case
        assert told.count("\n") == 1, case
        assert {*left} == {"RUN", "file"}, case


def test_the_sizes_are_those_of_the_backbones():
    assert {name: image_sizes(name) for name in list_backbones()} == TAKEN


def test_published_files_are_looked_for_where_they_are():
    from torchvision.datasets import CIFAR10, CIFAR100

    for name, published in (("cifar10", CIFAR10), ("cifar100", CIFAR100)):
        assert source_class(name).paths == (published.base_folder, published.filename)


def test_with_pytorch_there_the_job_checks(monkeypatch):
    monkeypatch.setattr(devices, "_surely_no_gpu", lambda: True)
    config = TrainConfig(trainer=TrainerConfig("gpu", accelerator="gpu", devices=1, num_nodes=1, precision="auto"))
    early_checks.check_early(config)  # a test of it may have put a GPU there
    monkeypatch.delitem(sys.modules, "torch")
    with pytest.raises(BadInput, match="trainer=gpu: no GPU was found"):
        early_checks.check_early(config)


@pytest.mark.parametrize(("found", "gpu"), [("2.11.0+cpu", False), ("2.11.0", True), ("2.11.0+cu130", True)])
def test_a_build_for_cpus_has_no_gpu(monkeypatch, found, gpu):
    monkeypatch.setattr("p2be_exp.system.devices.metadata.version", lambda name: found)
    monkeypatch.setattr("p2be_exp.system.devices.ctypes.CDLL", lambda name: None)  # a driver is there
    assert devices._surely_no_gpu() is not gpu


@pytest.mark.parametrize(("flags", "lacks"), [("avx512f avx512_bf16", False), ("amx_tile", False), ("avx2", True)])
def test_bf16_by_what_linux_tells_of_the_cpu(monkeypatch, tmp_path, flags, lacks):
    (tmp_path / "cpuinfo").write_text(f"flags\t\t: fpu {flags} sse\n")
    monkeypatch.setattr(devices, "CPUS", Path(tmp_path / "cpuinfo"))
    monkeypatch.setattr("p2be_exp.system.devices.platform.machine", lambda: "x86_64")
    assert devices._surely_no_bf16() is lacks
